"""The rows of a file, each with the place where it stands, so that what needs no mending is written as it was."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from data_desk.repairs.broken_json import mended_json, values_of
from data_desk.repairs.edit import Change, Edit, around
from data_desk.repairs.order import mended_row
from lora_trainer.data.formats import read_row
from lora_trainer.data.layouts.file_row import ESCAPED, BadFile, Unit
from lora_trainer.data.layouts.json_array import rows_of_array
from lora_trainer.data.layouts.table import head_of

_LINE = re.compile(r"([^\n]*?)(\r?(?:\n|\Z))")
_LONGEST = 64 << 20
"""Characters of a text that is read as a whole by the rules."""


@dataclass
class Piece:
    """A line with what it holds, or a row of an array."""

    line: int
    raw: str | None = None
    """The line as it stands; None in an array."""
    end: str = "\n"
    values: list[Any] | None = None
    """The rows on it; None for a line that no row is read from."""
    mended: bool = False
    """Whether it has to be written anew."""


@dataclass
class Laid:
    """How the rows lie."""

    kind: str
    """lines, array or spread (objects over several lines)."""
    pieces: list[Piece]
    unit: Unit = "line"
    changes: list[Change] = field(default_factory=list)
    """What was mended for the rows to be read at all."""


def laid_out(text: str, without: Collection[str] = ()) -> Laid | None:
    """The rows of a text; None where it is a table, or an array that no rule mends.

    Spreadsheet programs read a table as it was saved, so nothing is changed in it.
    """
    opening = text.lstrip("\ufeff \t\r\n")[:1]
    if opening == "[":
        if (array := _array(text, without)) is not None:
            return array
    elif opening != "{":
        try:
            if head_of(text.lstrip("\ufeff")) is not None:
                return None
        except BadFile:
            return None
    pieces, changes = list(_lines(text)), list[Change]()
    for piece in pieces:
        changes += _read(piece, without)
    first = next((piece for piece in pieces if piece.raw and piece.raw.strip()), None)
    if first is not None and first.values is None and (whole := _spread(text, without)) is not None:
        return whole
    return Laid("lines", pieces, changes=changes)


def _array(text: str, without: Collection[str]) -> Laid | None:
    changes: list[Change] = []
    joined: list[int] = []
    if not isinstance(_loads(text), list):
        if ESCAPED.search(text) or len(text) > _LONGEST or (found := mended_json(text)) is None:
            return None
        mended, edits = found
        if {edit.repair for edit in edits} & set(without):
            return None
        changes = [Change(e.repair, text.count("\n", 0, e.start) + 1, *around(text, e)) for e in edits]
        breaks = [e for e in edits if text[e.start : e.end] == "\n" and "\n" not in e.new]
        joined = [text.count("\n", 0, e.start) + 1 - before for before, e in enumerate(breaks)]
        text = mended
    data = text.encode("utf-8", "surrogateescape")
    unit, found_rows = rows_of_array(data, data.index(b"["))
    rows = list(found_rows)
    if any(row.fault for row in rows):
        return None
    # a line break that became an escape moved up what stands behind it
    moved = [bisect_left(joined, row.number) if unit == "line" else 0 for row in rows]
    pieces = [Piece(row.number + up, values=[row.content]) for row, up in zip(rows, moved, strict=True)]
    return Laid("array", pieces, unit, changes)


def _spread(text: str, without: Collection[str]) -> Laid | None:
    """Objects that go over several lines."""
    if "spread" in without or ESCAPED.search(text) or len(text) > _LONGEST:
        return None
    values, changes = values_of(text), list[Change]()
    if values is None or not all(isinstance(value, dict) for value in values):
        found = mended_json(text)
        if found is None or {edit.repair for edit in found[1]} & set(without):
            return None
        changes = [Change(e.repair, text.count("\n", 0, e.start) + 1, *around(text, e)) for e in found[1]]
        values = values_of(found[0])
    if values is None or len(values) >= sum(bool(line.strip()) for line in text.split("\n")):
        return None
    pieces = [Piece(number, values=[value], mended=True) for number, value in enumerate(values, 1)]
    return Laid("spread", pieces, "row", [*changes, Change("spread", 0)])


def _lines(text: str) -> Iterator[Piece]:
    for number, match in enumerate(_LINE.finditer(text), 1):
        if match[0]:
            yield Piece(number, match[1], match[2])


def _read(piece: Piece, without: Collection[str]) -> Iterator[Change]:
    """Read what a line holds, and mend it where that makes it a row."""
    assert piece.raw is not None
    line = piece.raw.lstrip("\ufeff")
    if not line.strip() or ESCAPED.search(line):
        return
    value = _loads(line)
    if isinstance(value, dict):
        piece.values = [value]
        return
    found = None if value is not None else mended_json(line)
    if found is None or {edit.repair for edit in found[1]} & set(without):
        return
    values = values_of(found[0])
    if not values or (_breaks_off(found[1]) and not _is_whole(values, without)):
        return
    piece.values, piece.mended = values, True
    for name in dict.fromkeys(edit.repair for edit in found[1]):
        first = next(edit for edit in found[1] if edit.repair == name)
        yield Change(name, piece.line, *around(line, first))


def _loads(text: str) -> Any:
    try:
        return json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return None


def _breaks_off(edits: Sequence[Edit]) -> bool:
    return any(edit.repair == "json_bracket" for edit in edits)


def _is_whole(values: Sequence[dict[str, Any]], without: Collection[str]) -> bool:
    """Whether a training reads all of them: a line that breaks off within a dialogue isn't closed."""
    return not any(read_row(mended_row(value, without)[0]).faults for value in values)
