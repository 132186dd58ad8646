"""A table: rows of cells under a head, of a text (RFC 4180, whatever separates the columns) or of a workbook."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice

from lora_trainer.errors import DataError

_SEPARATORS = ("\t", ",", ";", "|")
_HEAD = 4000
"""Characters of the first line that are enough to know a table by."""


class Grid:
    """Rows that can be gone through as often as somebody likes, the first of which is the head."""

    def __init__(self, file: str, rows: Callable[[], Iterator[list[str]]], name: str = "") -> None:
        self.name = name
        """The sheet's; empty where a file is one table."""
        self._file, self._rows = file, rows

    @cached_property
    def heads(self) -> tuple[str, ...]:
        """The names of the columns; empty where it is no table. Raises DataError for a broken workbook."""
        try:
            heads = next(self._rows(), [])
        except csv.Error:
            return ()
        return tuple(head.strip() for head in heads) if len(heads) > 1 else ()

    def lengths(self, most: int) -> list[int]:
        """How many cells the first rows have, `most` of them; empty where they can't be read."""
        try:
            return [len(row) for row in islice(self._rows(), 1, most + 1) if row]
        except csv.Error:
            return []

    def records(self) -> Iterator[dict[str, str]]:
        """The rows by the names of their columns; what a row lacks is empty. Raises DataError."""
        heads = self.heads
        rows = self._rows()
        try:
            next(rows, None)
            for row in rows:
                if any(cell.strip() for cell in row):
                    yield dict(zip(heads, [*row, *[""] * (len(heads) - len(row))], strict=False))
        except csv.Error as error:
            raise DataError("error.import.table", file=self._file, reason=str(error)) from error


def rows_of_text(text: str) -> Iterator[list[str]]:
    """The cells of each row; none where the first line has nothing that separates columns. Raises csv.Error."""
    first = text.lstrip("\n")[:_HEAD].partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    if first.count(separator):
        yield from csv.reader(io.StringIO(text.lstrip("\n"), newline=""), delimiter=separator)
