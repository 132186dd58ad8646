"""A user's own words about a run: its record's `note`."""

from __future__ import annotations

import unicodedata

MOST = 200
"""Characters of a note: a line or two, not a diary."""
_JOINER = "\u200d"
"""Emoji of several parts are held together by it."""


def cleaned(text: str) -> str:
    """`text` on one line, without what a terminal would obey or not show: control, direction and private characters."""
    blanks = "".join(" " if character.isspace() else character for character in text)
    kept = (c for c in blanks if c == _JOINER or not unicodedata.category(c).startswith("C"))
    return " ".join("".join(kept).split())


def is_too_long(text: str) -> bool:
    """Whether a note holds more than is kept of one."""
    return len(cleaned(text)) > MOST
