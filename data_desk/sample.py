"""A file that somebody wants to bring in: its bytes, its text whatever the encoding, and both as JSON or as tables."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from data_desk.archive import MAGIC, content_of
from data_desk.grid import Grid, rows_of_text
from data_desk.workbook import refuse_others, sheets_of
from lora_trainer.data.encodings import NAMES
from lora_trainer.data.files import as_utf8
from lora_trainer.data.layouts import parquet
from lora_trainer.data.layouts.file_row import BadFile
from lora_trainer.errors import DataError

MOST_BYTES = 256 << 20
"""Larger ones are refused: the chats of ten years are smaller."""
_NO_TEXT = (b"\x89PNG", MAGIC, parquet.MAGIC, b"%PDF")
"""How pictures and archives begin: half of them could be read as UTF-16."""


class Sample:
    """A file's content under the name that people know it by."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name, self.data = name, data

    @cached_property
    def _read(self) -> tuple[bytes, str]:
        """The text in UTF-8, and the codec that it had; both empty where it is no text."""
        if self.data.startswith(_NO_TEXT):
            return b"", ""
        try:
            return as_utf8(self.data)
        except BadFile:
            return b"", ""

    @property
    def utf8(self) -> bytes:
        """The text as a training reads it; empty where it is none."""
        return self._read[0]

    @property
    def encoding(self) -> str:
        """What people call its encoding; empty where it is no text."""
        return NAMES.get(self._read[1], "")

    @cached_property
    def text(self) -> str:
        """All of it, with line ends as `\\n`; empty where it is no text."""
        text = self.utf8.decode("utf-8", "replace").lstrip("\ufeff")
        return text.replace("\r\n", "\n").replace("\r", "\n")

    @cached_property
    def lines(self) -> list[str]:
        """The text's lines, without their ends."""
        return self.text.split("\n")

    @cached_property
    def json(self) -> Any:
        """The text as one JSON value; None where it is none."""
        return parsed(self.text) if self.text.lstrip()[:1] in ("{", "[") else None

    @cached_property
    def json_lines(self) -> list[Any]:
        """The values of a text that has one JSON object on each of its lines; empty where the first isn't one."""
        filled = [line for line in self.lines if line.strip()]
        if not filled or not isinstance(parsed(filled[0]), dict):
            return []
        return [value for line in filled if (value := parsed(line)) is not None]

    @cached_property
    def tables(self) -> tuple[Grid, ...]:
        """The table that a text is or the sheets of a workbook; none where it is neither. Raises DataError."""
        if self.text.lstrip()[:1] in ("{", "["):
            return ()
        if self.text.strip():
            return (Grid(self.name, lambda: rows_of_text(self.text)),)
        return sheets_of(self.name, self.data, MOST_BYTES)

    @property
    def heads(self) -> tuple[str, ...]:
        """The names of the first table's columns; empty where there is none. Raises DataError."""
        return self.tables[0].heads if self.tables else ()

    def records(self) -> Iterator[dict[str, str]]:
        """The first table's rows by the names of their columns. Raises DataError."""
        return self.tables[0].records() if self.tables else iter(())


def parsed(text: str) -> Any:
    """A text's JSON value; None where it has none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def open_sample(path: Path) -> Sample:
    """Read a file, of an archive the member that is wanted.

    Raises DataError where it isn't there, can't be read, is empty, far too large, or an archive that means harm.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES or not path.is_file():
            raise DataError("error.import.large", file=str(path), most=MOST_BYTES >> 20)
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError("error.import.missing", file=str(path)) from error
    except (OSError, ValueError) as error:  # a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError("error.data.unreadable", file=str(path), reason=reason) from error
    if not data.strip():
        raise DataError("error.data.empty", file=str(path))
    refuse_others(path.name, data)
    return Sample(path.name, content_of(path.name, data, MOST_BYTES))


def files_in(path: Path) -> list[Path]:
    """The file itself, or all files in a folder and below it, by name; hidden ones are left out."""
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
    return found
