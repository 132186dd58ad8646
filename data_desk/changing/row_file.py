"""A file with a row on each line, as the desk changes it: what isn't changed keeps its bytes, and its place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_desk.sample import parsed
from data_desk.writing import backed_up, bytes_of, put, row_lines
from lora_trainer.errors import DataError


class Backups:
    """The files as they were when somebody sat down at the desk: one copy of each, made before its first change."""

    def __init__(self) -> None:
        self._made: set[Path] = set()

    def keep(self, file: Path) -> Path | None:
        """The new copy beside a file; None where there is one already, or nothing to keep."""
        if file in self._made or not file.exists():
            return None
        copy = backed_up(file)
        self._made.add(file)
        return copy


@dataclass(frozen=True)
class RowFile:
    """The lines of a file as they were read."""

    path: Path
    digest: str
    lines: Mapping[int, bytes]
    """Line number from 1 -> the line; blank ones are left out."""

    def content(self, line: int) -> Any:
        """What a line says."""
        return parsed(self.lines[line].decode("utf-8"))


def read_rows(path: Path) -> RowFile:
    """The lines of a file; none where it isn't there. Raises DataError where it hasn't a row on each line."""
    data = bytes_of(path)
    return RowFile(path, hashlib.sha256(data).hexdigest(), row_lines(path, data))


def change(
    rows: RowFile,
    backups: Backups,
    *,
    changed: Mapping[int, Any] | None = None,
    without: Iterable[int] = (),
    added: Sequence[bytes] = (),
) -> Path | None:
    """Write the file with other rows on some lines, without some lines and with some more at its end.

    Returns the backup that was made of it. Raises DataError where somebody else has changed it meanwhile, and OSError.
    """
    if hashlib.sha256(bytes_of(rows.path)).hexdigest() != rows.digest:
        raise DataError("error.desk.changed", file=str(rows.path))
    gone, other = set(without), changed or {}
    kept = [line_of(other[n]) if n in other else line for n, line in rows.lines.items() if n not in gone]
    rows.path.parent.mkdir(parents=True, exist_ok=True)
    backup = backups.keep(rows.path)
    put(rows.path, b"".join(line + b"\n" for line in [*kept, *added]))
    return backup


def line_of(content: Any) -> bytes:
    """A row as its line."""
    return json.dumps(content, ensure_ascii=False).encode("utf-8")
