"""A file that somebody wants to bring in: its bytes, its text whatever the encoding, and both as JSON or as a table."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from lora_trainer.data.encodings import NAMES, codec_of
from lora_trainer.errors import DataError

MOST_BYTES = 256 << 20
"""Larger ones are refused: the chats of ten years are smaller."""
_NO_TEXT = (b"\x89PNG", b"PK\x03\x04", b"%PDF")
"""How pictures and archives begin: half of them could be read as UTF-16."""
_SEPARATORS = ("\t", ",", ";", "|")
_HEAD = 4000
"""Characters of the first line that are enough to know a table by."""


class Sample:
    """A file's content under the name that people know it by."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name, self.data = name, data

    @cached_property
    def codec(self) -> str | None:
        """By what its text is read; None where it is none."""
        return None if self.data.startswith(_NO_TEXT) else codec_of(self.data)

    @property
    def encoding(self) -> str:
        """What people call its encoding; empty where it is no text."""
        return NAMES[self.codec] if self.codec else ""

    @cached_property
    def text(self) -> str:
        """All of it, with line ends as `\\n`; empty where it is no text."""
        if self.codec is None:
            return ""
        text = self.data.decode(self.codec, "replace").lstrip("\ufeff")
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
    def heads(self) -> tuple[str, ...]:
        """The names of a table's columns; empty where the text isn't one."""
        if self.text.lstrip()[:1] in ("{", "[", ""):
            return ()
        try:
            heads = next(self._records(), [])
        except csv.Error:
            return ()
        return tuple(head.strip() for head in heads) if len(heads) > 1 else ()

    def lengths(self, most: int) -> list[int]:
        """How many cells the first rows of a table have, `most` of them; empty where they can't be read."""
        try:
            return [len(row) for row in itertools.islice(self._records(), 1, most + 1) if row]
        except csv.Error:
            return []

    def records(self) -> Iterator[dict[str, str]]:
        """A table's rows by the names of their columns; what a row lacks is empty. Raises DataError."""
        heads = self.heads
        rows = self._records()
        try:
            next(rows, None)
            for row in rows:
                if any(cell.strip() for cell in row):
                    yield dict(zip(heads, [*row, *[""] * (len(heads) - len(row))], strict=False))
        except csv.Error as error:
            raise DataError("error.import.table", file=self.name, reason=str(error)) from error

    def _records(self) -> Iterator[list[str]]:
        first = self.text.lstrip("\n")[:_HEAD].partition("\n")[0]
        separator = max(_SEPARATORS, key=first.count)
        reader = csv.reader(io.StringIO(self.text.lstrip("\n"), newline=""), delimiter=separator)
        if first.count(separator):
            yield from reader


def parsed(text: str) -> Any:
    """A text's JSON value; None where it has none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def open_sample(path: Path) -> Sample:
    """Read a file; raises DataError where it isn't there, can't be read, is empty or far too large."""
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
    return Sample(path.name, data)


def files_in(path: Path) -> list[Path]:
    """The file itself, or all files in a folder and below it, by name; hidden ones are left out."""
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
    return found
