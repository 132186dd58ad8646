"""Columns of a terminal: how wide it is, how wide a text is, where a line may break."""

from __future__ import annotations

import os
import re

TYPE_CHECKING = False  # as in command_line.py
if TYPE_CHECKING:
    from collections.abc import Sequence

READABLE = 14
"""Columns that what was cut is to have at least."""
MENU_MARGIN = 8
"""Columns of a menu's line that its pointer and digit take, and one that stays free."""


def terminal_width() -> int:
    """Columns to fill with text: COLUMNS, else the terminal's, between 40 and 100."""
    columns = os.environ.get("COLUMNS", "")
    try:
        wide = int(columns) if columns.isdigit() else os.get_terminal_size().columns
    except OSError:
        wide = 80
    return max(40, min(100, wide))


def cells(text: str) -> int:
    """Columns that `text` takes in a terminal (Chinese characters take two)."""
    if text.isascii():
        return len(text)
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def wrap(text: str, width: int) -> list[str]:
    """Break `text` at spaces, behind "|" and between wide characters; punctuation stays with its word."""
    if cells(text) <= width:
        return [text]
    indent = " " * (len(text) - len(text.lstrip()))
    lines = [""]
    for piece in re.findall(r"\s*[（“]*(?:[!-{}~]+\|?|\S)[，。；：、）”！？…/]*", text):
        if lines[-1].strip() and cells(lines[-1] + piece) > width:
            lines.append(indent + piece.lstrip())
        else:
            lines[-1] += piece
    return lines


def folded(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` cells: broken between words, a word that is too long within."""
    lines: list[str] = []
    for line in wrap(text, width):
        while cells(line) > width:
            at = next(at for at in range(len(line), 0, -1) if cells(line[:at]) <= width)
            lines.append(line[:at])
            line = line[at:]
        lines.append(line)
    return lines


def paragraphs(text: str, width: int) -> list[str]:
    """The lines of `text`, each broken to `width`; an indented line is a command to copy and stays whole."""
    lines: list[str] = []
    for line in text.split("\n"):
        lines += [line] if line.startswith("  ") else wrap(line, width)
    return lines


def cut(text: str, width: int) -> str:
    """`text` in at most `width` columns, with an ellipsis where something is left out."""
    if cells(text) <= width:
        return text
    kept = ""
    for character in text:
        if cells(kept + character) > width - 1:
            break
        kept += character
    return kept.rstrip() + "…"


def shortened(text: str, width: int) -> str:
    """`text` on one line of at most `width` columns."""
    return cut(" ".join(text.split()), width)


def listed(names: Sequence[str], limit: int = 8) -> str:
    """The first names, with an ellipsis for the others."""
    return ", ".join(names[:limit]) + (" …" if len(names) > limit else "")


def aligned(rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """Rows of columns, as lines of at most `width` columns (else what a menu has on this terminal).

    What doesn't fit is cut from the widest column, of which nothing is left where that would be too little to read.
    """
    width = terminal_width() - MENU_MARGIN if width is None else width
    count = max(map(len, rows), default=0)
    filled = [[*row, *[""] * (count - len(row))] for row in rows]
    wide = [max(cells(row[column]) for row in filled) for column in range(count)]
    gap = 2
    while count > 1 and (over := sum(wide) + gap * (sum(map(bool, wide)) - 1) - width) > 0:
        most = max(wide[1:])
        if not most:
            break
        # of those that are wide the last one: it says least
        widest = max(column for column in range(1, count) if wide[column] * 4 >= most * 3)
        wide[widest] = wide[widest] - over if wide[widest] - over >= READABLE else 0
    lines = []
    for row in filled:
        kept = [(cut(text, room), room) for text, room in zip(row, wide, strict=True) if room]
        lines.append((" " * gap).join(text + " " * (room - cells(text)) for text, room in kept).rstrip())
    return [cut(line, width) for line in lines]


def flow(parts: Sequence[str], width: int, *, indent: str = "  ", gap: str = "    ") -> list[str]:
    """Parts that belong together, side by side, as many in a line of `width` columns as fit."""
    lines: list[str] = []
    for part in parts:
        if lines and cells(lines[-1] + gap + part) <= width:
            lines[-1] += gap + part
        else:
            lines += [indent + line for line in wrap(part, width - len(indent))]
    return lines
