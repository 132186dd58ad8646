"""Data files are written whole, with a backup of the old one beside them; new rows are added to a folder's file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from data_desk.dialogue import Dialogue
from data_desk.sample import parsed
from file_formats.durable import sync_file, sync_folder
from lora_trainer.data.encodings import reads
from lora_trainer.data.files import BOM
from lora_trainer.errors import DataError

FILE = "train.jsonl"


@dataclass(frozen=True)
class Written:
    """What became of the file."""

    file: Path
    before: int
    """Rows that stood there."""
    added: int
    known: int
    """Rows that stood there already, or came twice, and so were not added."""
    backup: Path | None


def check_place(folder: Path) -> Path:
    """The file that rows would be added to; raises DataError where it stands but doesn't have a row on each line."""
    file = folder / FILE
    _rows_there(folder, file)
    return file


def add(dialogues: Iterable[Dialogue], folder: Path) -> Written:
    """Write the rows; the old file is whole until the new one is. Raises DataError as `check_place`, and OSError."""
    file = folder / FILE
    old = _rows_there(folder, file)
    seen = set(old)
    new, known = [], 0
    for dialogue in dialogues:
        line = json.dumps(dialogue.as_row, ensure_ascii=False).encode("utf-8")
        if line in seen:
            known += 1
            continue
        seen.add(line)
        new.append(line)
    if not new:
        return Written(file, len(old), 0, known, None)
    folder.mkdir(parents=True, exist_ok=True)
    backup = replaced(file, b"".join(line + b"\n" for line in [*old, *new]))
    return Written(file, len(old), len(new), known, backup)


def replaced(file: Path, data: bytes) -> Path | None:
    """Write a file as `put` does; returns the backup of the old one, None where there was none. Raises OSError."""
    # the file that a link leads to, and not the link
    file = file.resolve()
    backup = backed_up(file) if file.exists() else None
    try:
        put(file, data)
    except BaseException:
        if backup is not None:
            backup.unlink()
        raise
    return backup


def put(file: Path, data: bytes) -> None:
    """Let a file have these bytes; until they are all on the disk it has those that it had. Raises OSError."""
    file = file.resolve()
    part = file.with_name(f"{file.name}.part")
    try:
        part.write_bytes(data)
        if file.exists():
            shutil.copymode(file, part)
        sync_file(part)
        part.replace(file)
    except BaseException:
        # what couldn't be written may not be there to be removed either, and isn't what is to be told
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


def put_back(file: Path, backup: Path) -> None:
    """Let a backup be the file again, as if nothing had been written. Raises OSError."""
    file = file.resolve()
    backup.replace(file)
    sync_folder(file.parent)


def _rows_there(folder: Path, file: Path) -> list[bytes]:
    if folder.exists() and not folder.is_dir():
        raise DataError("error.import.no_folder", folder=str(folder))
    return list(row_lines(file, bytes_of(file)).values())


def bytes_of(file: Path) -> bytes:
    """What is in a file; nothing where it isn't there. Raises DataError where it can't be read."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise DataError("error.data.unreadable", file=str(file), reason=error.strerror or str(error)) from error


def row_lines(file: Path, data: bytes) -> dict[int, bytes]:
    """Line number from 1 -> the line, of those that aren't blank. Raises DataError where they are no rows."""
    numbered = enumerate(data.removeprefix(BOM).split(b"\n"), 1)
    lines = {number: line.strip() for number, line in numbered if line.strip()}
    first = next(iter(lines.values()), b"{}")
    if not (reads(data, "utf-8") and isinstance(parsed(first.decode("utf-8")), dict)):
        raise DataError("error.import.other_file", file=str(file))
    return lines


def backed_up(file: Path) -> Path:
    """A copy beside the file, under the first number that is free."""
    number = 1
    while (backup := file.with_name(f"{file.name}.backup-{number}")).exists():
        number += 1
    shutil.copy2(file, backup)
    sync_file(backup)
    return backup
