"""How much of texts is Chinese, English or something else, by their letters."""

from __future__ import annotations

import re
from collections.abc import Iterable

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LATIN = re.compile("[A-Za-z]")
_WORTH = 3
"""A Chinese character says as much as three other letters."""


def shares(texts: Iterable[str]) -> dict[str, float]:
    """zh, en, other -> their parts, which are 1 together; empty where there is no letter."""
    han = latin = letters = 0
    for text in texts:
        han += 0 if text.isascii() else len(_HAN.findall(text))
        latin += len(_LATIN.findall(text))
        letters += sum(map(str.isalpha, text))
    weights = {"zh": _WORTH * han, "en": latin, "other": letters - han - latin}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()} if total else {}
