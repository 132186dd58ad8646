"""The front page as plain lines: header, characters, what is unfinished, choices. Nothing is loaded to draw it."""

from __future__ import annotations

from wizard.entries.table import NUMBERS
from wizard.screen.layout import cells
from wizard.words import spoken_time, t

TYPE_CHECKING = False  # as in command_line.py
if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pipeline.run.overview import Character, Overview

WIDEST = 80
_LEFT = tuple(number for number in NUMBERS if number in "12345")
_OTHERS = 3
"""Lines around the page and in it: an empty one before it, the heads of its columns, the question."""
_LEAST, _MOST_UNFINISHED = 3, 3
_WIDE = 72
"""From this width on columns stand three cells apart, below it two."""


_MARK = 3
"""Cells before the first column."""
_LEAST_CELLS = {"name": 8, "stands": 8, "epochs": 6, "habits": 6, "last": 15, "data": 10}
"""Columns, and what each is cut to at most; where that is too much, some are left out."""
_RIGHT = ("epochs", "habits")
"""Columns of numbers, which end below each other."""


class Marks:
    """The signs of a page, and its colours (SGR numbers; none where `colour` is False)."""

    def __init__(self, *, unicode: bool, colour: bool) -> None:
        self.rule, self.star, self.works = ("─", "★", "▶") if unicode else ("-", "*", ">")
        self.unicode, self.colour = unicode, colour

    def paint(self, text: str, style: str) -> str:
        """`text` in a colour."""
        return f"\x1b[{style}m{text}\x1b[0m" if self.colour and text.strip() else text


def front_page(
    found: Overview | None,
    right: str,
    trouble: str,
    width: int,
    height: int,
    marks: Marks,
    now: datetime | None = None,
    remark: str = "",
) -> list[str]:
    """The lines of the page, none wider than `width` cells; `found` is None where there is `trouble` in its place.

    `right` is what the header says of Ollama and the machine, `now` the time that today is taken from; the `remark`
    stands above the choices.
    """
    width = min(width, WIDEST)
    head = [*_header(right, width, marks), marks.paint(marks.rule * width, "2")]
    foot = [""]
    if found is not None:
        foot = [*_unfinished(found.characters, width, marks), ""]
        if found.broken:
            foot[-1:] = [*_wrapped(t("home.broken", count=found.broken), width, marks, " ! ", "33"), ""]
        if not found.characters:
            foot += ["  " + marks.paint(t("home.first"), "1"), ""]
    if remark:
        foot[-1:] = [*_wrapped(remark, width, marks, "  "), ""]
    foot += _choices(width, marks)
    if trouble:
        head += _wrapped(trouble, width, marks, "! ", "33")
    if found is not None and found.characters:
        room = max(_LEAST, height - len(head) - len(foot) - _OTHERS)
        head += _characters(found.characters, width, room, marks, now)
    return [line.rstrip() for line in head + foot]


def _header(right: str, width: int, marks: Marks) -> list[str]:
    title = _plain(t("home.title"), marks)
    room = width - cells(title) - cells(right)
    if room >= 2:
        return [marks.paint(title, "1;36") + " " * room + right]
    return [marks.paint(title, "1;36"), *_wrapped(right, width, marks, "  ")]


def _characters(
    characters: Sequence[Character], width: int, most: int, marks: Marks, now: datetime | None
) -> list[str]:
    shown = characters[: most if len(characters) <= most else most - 1]
    columns = [*_LEAST_CELLS]
    table = [{column: t(f"home.column.{column}") for column in columns}]
    table += [_row(character, now) for character in shown]
    if not any(character.habits for character in shown):
        columns.remove("habits")
    gap = " " * (3 if width >= _WIDE else 2)
    for gone in ("habits", "data", "epochs", "last"):
        too_wide = _MARK + sum(_LEAST_CELLS[column] + len(gap) for column in columns) - len(gap) > width
        if gone in columns and too_wide:
            columns.remove(gone)
    widths = {column: max(cells(row[column]) for row in table) for column in columns}
    too_much = _MARK + sum(widths.values()) + len(gap) * (len(columns) - 1) - width
    for column in ("data", "name", "stands"):  # shortened in this order
        if column in columns and too_much > 0:
            less = min(too_much, max(0, widths[column] - _LEAST_CELLS[column]))
            widths[column], too_much = widths[column] - less, too_much - less
    lines = []
    for number, row in enumerate(table):
        fitted = {column: _fit(row[column], widths[column], keep_end=column == "data") for column in columns}
        line = gap.join(_pad(fitted[column], widths[column], right=column in _RIGHT) for column in columns)
        if number == 0:
            lines.append(marks.paint(" " * _MARK + line, "2"))
        else:
            known = shown[number - 1]
            stands = known.in_ollama and known.number is not None
            lines.append(" " + (marks.paint(marks.star, "33") if stands else " ") + " " + line)
    if len(shown) < len(characters):
        lines.append("   " + t("home.more", count=len(characters) - len(shown)))
    return lines


def _row(character: Character, now: datetime | None) -> dict[str, str]:
    """The cells of one character."""
    if character.in_ollama and character.number is None:
        stands = t("home.elsewhere")
    elif character.number is None:
        stands = t("home.never_done")
    elif character.in_ollama is False:
        stands = t("home.not_registered")
    else:
        stands = t("home.run", number=character.number)
    rows = "" if character.rows is None else t("home.rows", rows=character.rows)
    return {
        "name": character.name,
        "stands": stands,
        "epochs": "-" if character.epochs is None else f"{character.epochs:.1f}",
        "habits": "-" if character.habits is None else "{}/{}".format(*character.habits),
        "last": spoken_time(character.last, now),
        "data": f"{character.place} {rows}".strip() or "-",
    }


def _unfinished(characters: Sequence[Character], width: int, marks: Marks) -> list[str]:
    lines: list[str] = []
    begun = [character for character in characters if character.unfinished is not None]
    for character in begun[:_MOST_UNFINISHED]:
        run = character.unfinished
        assert run is not None
        values = {"name": character.name, "number": run.number, "percent": run.percent}
        if run.works:
            lines += _wrapped(t("home.works", **values), width, marks, f" {marks.works} ", "36")
        elif run.waits:
            lines += _wrapped(t("home.waits", **values), width, marks, " ! ", "33")
        elif run.trained:
            lines += _wrapped(t("home.trained", **values), width, marks, " ! ", "33")
        else:
            lines += _wrapped(t("home.unfinished", **values), width, marks, " ! ", "33")
    if len(begun) > _MOST_UNFINISHED:
        lines.append("   " + t("home.more_unfinished", count=len(begun) - _MOST_UNFINISHED))
    return lines


def _choices(width: int, marks: Marks) -> list[str]:
    said = {number: _plain(f"{number}) " + t(f"home.choice.{number}"), marks) for number in NUMBERS}
    right = [number for number in NUMBERS if number not in _LEFT]
    column = max(*(cells(said[number]) + 2 for number in _LEFT), 31 if width >= 60 else 0)
    if 2 + column + max(cells(said[number]) for number in right) > width:
        return ["  " + said[number] for number in NUMBERS]
    pairs = [(_LEFT[at] if at < len(_LEFT) else "", right[at]) for at in range(len(right))]
    return ["  " + _pad(said.get(left, ""), column) + said[other] for left, other in pairs]


def _wrapped(text: str, width: int, marks: Marks, mark: str, style: str = "") -> list[str]:
    from wizard.screen.layout import wrap

    first, *rest = (line for part in text.split("\n") for line in wrap(part, width - cells(mark)))
    head = marks.paint(mark, style) if style else mark
    return [head + first, *(" " * cells(mark) + line.lstrip() for line in rest)]


def _plain(text: str, marks: Marks) -> str:
    """Without pictures, where the terminal may have none."""
    if marks.unicode:
        return text
    return "".join(character for character in text if ord(character) < 0x1F000).replace("  ", " ")


def _fit(text: str, width: int, *, keep_end: bool = False) -> str:
    """`text` cut to `width` cells, with dots for what is gone."""
    if cells(text) <= width:
        return text
    kept = text
    while kept and cells(kept) > width - 1:
        kept = kept[1:] if keep_end else kept[:-1]
    return "…" + kept if keep_end else kept + "…"


def _pad(text: str, width: int, *, right: bool = False) -> str:
    blanks = " " * max(0, width - cells(text))
    return blanks + text if right else text + blanks
