"""Whether an answer goes round in circles."""

from __future__ import annotations

import re

from data_desk.counting.pieces import RUN, pieces, weight

TIMES = 3
"""A phrase so often in a row is a loop (Holtzman et al., 2019, arXiv:1904.09751, appendix E, count the same way)."""
GRAM, AGAIN, LEAST = 4, 0.25, 24
"""Of an answer of LEAST pieces or more this part of its runs of four pieces stood in it before (seq-rep-4 of Welleck et
al., 2019, arXiv:1908.04319); people's answers stay below a tenth."""
SYMBOLS = re.compile(r"([^\w\s])\1{19,}")
"""A symbol twenty times in a row."""


def repeats_itself(text: str) -> bool:
    """Whether a phrase stands three times or more in a row, together as long as 12 characters or 8 words; or a symbol
    twenty times; or a quarter of the runs of four pieces stood in the text before."""
    parts = pieces(text)
    return bool(SYMBOLS.search(text)) or _loops(parts) or _said_again(parts) >= AGAIN


def _loops(parts: list[str]) -> bool:
    for period in range(1, len(parts) // TIMES + 1):
        alike = 0
        for at in range(period, len(parts)):
            alike = alike + 1 if parts[at] == parts[at - period] else 0
            if alike >= (TIMES - 1) * period:
                loop = parts[at + 1 - alike - period : at + 1]
                if sum(map(weight, loop)) >= RUN:
                    return True
    return False


def _said_again(parts: list[str]) -> float:
    """1 - different runs of four pieces / all of them."""
    if len(parts) < LEAST:
        return 0.0
    grams = [tuple(parts[at : at + GRAM]) for at in range(len(parts) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams)
