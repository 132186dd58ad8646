"""Texts of control tokens inside what people say: the model would read them as its own marks."""

from __future__ import annotations

import re
from typing import Any


class ControlTokens:
    """The special tokens of a tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids = {str(t): number for number, t in tokenizer.added_tokens_decoder.items() if t.special and str(t)}
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._any = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def inside(self, content: str) -> str | None:
        """The first one that the tokenizer takes out of a text as one token; None where there is none."""
        written = self._any.findall(content)
        if not written:
            return None
        # some stand for themselves only as a word of their own
        ids = set(self._tokenizer(content, add_special_tokens=False).input_ids)
        return next((token for token in written if self._ids[token] in ids), None)
