"""A text as the pieces that people count it in: a character where a script is written without blanks, else a word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, kana and Han, as a class of a regular expression: scripts without blanks between words."""
PIECE = re.compile(f"[{UNSPACED}]|[^\\W_{UNSPACED}]+(?:['’][^\\W_{UNSPACED}]+)*")
PIECE_ALONE = re.compile(f"[{UNSPACED}]")
"""A piece that is a character."""

RUN_CHARACTERS, RUN_WORDS = 12, 8
"""So many pieces one after the other are more than what two people say alike by chance."""
RUN = 24
_CHARACTER, _WORD = RUN // RUN_CHARACTERS, RUN // RUN_WORDS
"""What a piece weighs, so that a run of 12 characters, of 8 words, or of some of both weighs RUN."""


def folded(text: str) -> str:
    """`text` as it is compared: Unicode's compatibility form (full width is half width), without case."""
    return text.casefold() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def pieces(text: str) -> list[str]:
    """The pieces of a text in order, folded; punctuation, symbols and blanks are none."""
    return PIECE.findall(folded(text))


def weight(piece: str) -> int:
    """What a piece counts for in a run: RUN of them together are a long one."""
    return _CHARACTER if PIECE_ALONE.match(piece) else _WORD


def windows(parts: Sequence[str]) -> Iterator[str]:
    """For each place in a text's pieces the shortest run from there that weighs RUN, its pieces joined by blanks.

    Two texts have a run of that weight in common exactly where one of these stands in both.
    """
    joined = " ".join(parts)
    weights = [weight(part) for part in parts]
    start = end = behind = held = 0
    for own, part in zip(weights, parts, strict=True):
        while held < RUN and end < len(parts):
            held += weights[end]
            behind += len(parts[end]) + (end > 0)
            end += 1
        if held < RUN:
            return
        yield joined[start:behind]
        held -= own
        start += len(part) + 1
