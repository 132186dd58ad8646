"""Excel's sheets (.xlsx, .xlsm) as rows of texts: ECMA-376, part 1, 18 "SpreadsheetML", read by openpyxl.

What formulas have come to is read, not the formulas. A workbook of before 2007 (.xls), and one with a password, is an
OLE file instead: MS-CFB, 2.2, and MS-OFFCRYPTO, 1.3.2, of Microsoft's open specifications.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import datetime, time
from io import BytesIO
from itertools import islice
from typing import Any

from data_desk.archive import MAGIC, broken, check, opened
from data_desk.grid import Grid
from lora_trainer.errors import DataError

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_LOCKED = "EncryptedPackage".encode("utf-16-le")
_OLD = ("Workbook".encode("utf-16-le"), "Book".encode("utf-16-le"))
_PART, _BINARY = "xl/workbook.xml", "xl/workbook.bin"
_MOST_COLUMNS = 256
"""Those of a wider table aren't read: a cell in the last column alone makes 16,384 of a row."""
_MOST_ROWS = 1_048_576
"""As many as Excel has: openpyxl makes empty ones up to whatever number a row says it has."""
_AT_A_TIME = 512
_LINE_END = "_x000D_"
"""How a carriage return is written in a cell (22.9.2.19)."""


def refuse_others(name: str, data: bytes) -> None:
    """Raise DataError for a workbook that has a password, or is of a kind that isn't read."""
    if not data.startswith(_OLE):
        return
    if _LOCKED in data:
        raise DataError("error.import.locked", file=name)
    if any(stream in data for stream in _OLD):
        raise DataError("error.import.old_workbook", file=name)


def sheets_of(name: str, data: bytes, most: int) -> tuple[Grid, ...]:
    """The sheets of a workbook in their order; none where it is no workbook.

    Raises DataError for one that is broken or locked, or would become more than `most` bytes, and without openpyxl.
    """
    if not data.startswith(MAGIC):
        return ()
    archive = opened(name, data)
    parts = set(archive.namelist())
    if _BINARY in parts:
        raise DataError("error.import.old_workbook", file=name)
    if _PART not in parts:
        return ()
    check(name, archive.infolist(), most)
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise DataError("error.import.no_openpyxl", file=name) from error
    try:
        with warnings.catch_warnings():
            # about formats and pictures, which nobody asked for
            warnings.simplefilter("ignore")
            book = load_workbook(BytesIO(data), read_only=True, data_only=True, keep_links=False)
        return tuple(_grid(name, sheet) for sheet in book.worksheets)
    # a library's reader says by any error at all what it stumbled over in a file
    except Exception as error:
        raise broken(name, error) from error


def _grid(name: str, sheet: Any) -> Grid:
    return Grid(name, lambda: _rows(name, sheet), str(sheet.title))


def _rows(name: str, sheet: Any) -> Iterator[list[str]]:
    """The rows from the head on: titles above it are one cell long. All are as long as the head at least."""
    width = 0
    for cells in _cells(name, sheet):
        # a million of them may stand before a far one
        if cells.count(None) == len(cells):
            continue
        row = [_said(cell) for cell in cells]
        while row and not row[-1]:
            row.pop()
        if not width and len([cell for cell in row if cell]) < 2:
            continue
        width = width or len(row)
        if row:
            yield row + [""] * (width - len(row))


def _cells(name: str, sheet: Any) -> Iterator[tuple[Any, ...]]:
    try:
        rows = sheet.iter_rows(values_only=True, max_col=_MOST_COLUMNS, max_row=_MOST_ROWS)
        while True:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                some = list(islice(rows, _AT_A_TIME))
            if not some:
                return
            yield from some
    # as above
    except Exception as error:
        raise broken(name, error) from error


def _said(value: Any) -> str:
    """A cell's value as it would be typed."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, datetime) and value.time() == time.min:
        value = value.date()
    return str(value).replace(_LINE_END, "").strip()
