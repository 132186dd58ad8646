"""Lines of more than a table's row: labelled rows, two columns, and what records have of curves and answers."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from pipeline.outcome.note import cleaned
from wizard.screen.layout import cells, folded
from wizard.screen.training import sparkline

CURVE = 24
_LEAST_LABEL, _INDENT = 8, "  "
Curve = Sequence[Sequence[float]]


def pad(text: str, width: int) -> str:
    """`text` and the blanks that make it `width` cells wide."""
    return text + " " * max(0, width - cells(text))


def labelled(rows: Sequence[tuple[str, str]], width: int) -> list[str]:
    """(label, text) each, the texts below each other and broken so that no line is wider than `width` cells.

    What follows a text that is broken stands below it; an empty label goes on with the row before.
    """
    room = max([_LEAST_LABEL, *(cells(label) for label, _ in rows)])
    lines = []
    for label, text in rows:
        parts = [line for part in text.split("\n") for line in folded(part, width - room - 4)]
        for number, part in enumerate(parts):
            lines.append((_INDENT + pad("" if number else label, room) + "  " + part).rstrip())
    return lines


def command_lines(command: str, width: int) -> list[str]:
    """A command of a POSIX shell as lines of at most `width` cells that are one command where they are copied together.

    A word that is wider is taken apart: what is quoted in two lines without a blank between them is one word.
    """
    lines: list[list[str]] = [[]]
    for word in shlex.split(command):
        pieces = _pieces(word, width - 3)
        for number, piece in enumerate(pieces):
            if lines[-1] and (number or cells(" ".join([*lines[-1], piece])) > width - 2):
                lines[-1].append("\\")
                lines.append([])
            lines[-1].append(piece if number + 1 == len(pieces) else piece + "\\")
            if number + 1 < len(pieces):
                lines.append([])
    return [" ".join(line) for line in lines]


def _pieces(word: str, width: int) -> list[str]:
    """A word, quoted, in pieces of at most `width` cells."""
    found = []
    while cells(shlex.quote(word)) > width:
        at = next(n for n in range(len(word) - 1, 0, -1) if cells(shlex.quote(word[:n])) <= width or n == 1)
        found.append(shlex.quote(word[:at]))
        word = word[at:]
    return [*found, shlex.quote(word)]


def beside(left: str, right: str, width: int, between: str = "  ") -> list[str]:
    """Two texts in columns of the same width, in lines of at most `width` cells."""
    room = (width - cells(between)) // 2
    ones, others = ([line for part in text.split("\n") for line in folded(part, room)] for text in (left, right))
    count = max(len(ones), len(others))
    filled = [[*side, *[""] * (count - len(side))] for side in (ones, others)]
    return [(pad(one, room) + between + other).rstrip() for one, other in zip(*filled, strict=True)]


def values_of(curve: Curve | None) -> list[float]:
    """The losses of a recorded curve of (step, loss), without what is no number."""
    return [loss for _, loss in curve or () if loss is not None and math.isfinite(loss)]


def curve_text(curve: Curve | None, blocks: str, columns: int = CURVE) -> str:
    """A recorded curve: its first value, its course in at most so many `columns`, its last value; empty for none."""
    values = values_of(curve)
    if len(values) < 2:
        return f"{values[0]:.2f}" if values else ""
    return f"{values[0]:.2f} {sparkline(values, columns, blocks)} {values[-1]:.2f}"


def said(text: str) -> str:
    """What a model has said, line by line, without what a terminal would obey; blank lines are left out."""
    return "\n".join(line for line in map(cleaned, text.splitlines()) if line) or "…"
