"""CSV and TSV with a head that says which column is which."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from itertools import islice

from lora_trainer.data.layouts.file_row import ESCAPED, BadFile, FileRow, no_utf8
from lora_trainer.data.names import KEYS, are_known
from lora_trainer.data.written import keys_of, trim

_DELIMITERS = (",", "\t", ";", "|")
_LOOKED_AT = 1 << 16
"""Characters in which the head is looked for, and rows of JSON that have but a bad one before them."""
_COMPARED = 3
"""Rows that have as many cells each in a table."""
_JSON_ROW = re.compile(r"^[ \t]*[\[{]", re.MULTILINE)


@dataclass(frozen=True)
class Head:
    """The first row of a table."""

    columns: tuple[str, ...]
    """Keys as rows of JSON have them; other columns by their own names."""
    delimiter: str


def head_of(text: str) -> Head | None:
    """The head of a table whose columns are known by name; None where the text is none.

    Raises BadFile where it is a table, but which column is what stays unknown.
    """
    first_rows = {delimiter: _first_rows(text[:_LOOKED_AT], delimiter) for delimiter in _DELIMITERS}
    for delimiter, rows in first_rows.items():
        columns = tuple(
            key if (key := cell.casefold()) in KEYS else cell for cell in map(trim, rows[0] if rows else ())
        )
        if are_known(columns):
            return Head(columns, delimiter)
    if _JSON_ROW.search(text[:_LOOKED_AT]):
        return None
    for rows in first_rows.values():
        if len(rows) > 1 and len(rows[0]) > 1 and len(set(map(len, rows))) == 1:
            raise BadFile(1, "data.fault.head", keys=keys_of(rows[0]))
    return None


def rows_of_table(text: str, head: Head) -> Iterator[FileRow]:
    """The rows behind the head, counted by the line that each begins in; rows without any words are passed over."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=head.delimiter, strict=True)
    is_head = True
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield FileRow.bad(line, "data.fault.cells", reason=str(error))
            continue
        if not any(map(trim, cells)):
            continue
        if is_head:
            is_head = False
        else:
            yield _row(line, cells, head)


def _row(line: int, cells: list[str], head: Head) -> FileRow:
    written = head.delimiter.join(cells)
    if wrong := ESCAPED.search(written):
        return no_utf8(line, written, wrong.start())
    if any(map(trim, cells[len(head.columns) :])):
        values = {"found": len(cells), "columns": len(head.columns)}
        return FileRow.bad(line, "data.fault.too_many_cells", **values)
    cells += [""] * (len(head.columns) - len(cells))
    # the first of two columns of one name
    pairs = list(zip(head.columns, cells, strict=False))[::-1]
    return FileRow(line, {column: cell.replace("\r\n", "\n") for column, cell in pairs})


def _first_rows(text: str, delimiter: str) -> list[list[str]]:
    try:
        rows = (cells for cells in csv.reader(StringIO(text, newline=""), delimiter=delimiter) if any(map(trim, cells)))
        return list(islice(rows, _COMPARED))
    except csv.Error:
        return []
