"""Where dialogues lie: `data/` and the folders below it that have a training file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lora_trainer.data.files import BOM, as_utf8
from lora_trainer.data.formats import read_row
from lora_trainer.data.layouts.choose import rows_of_text
from lora_trainer.data.layouts.file_row import BadFile, FileRow
from lora_trainer.data.layouts.json_lines import rows_of_lines
from lora_trainer.data.layouts.parquet import MAGIC, rows_of_parquet

DEFAULT_DATA = Path("data")
TRAIN, VAL = "train.jsonl", "val.jsonl"
_DEPTH = 2
"""Folders below `data/` that are looked into, one inside the other."""


@dataclass(frozen=True)
class Place:
    """A folder with dialogues."""

    folder: Path
    rows: int
    """Rows of the training file, usable or not."""
    val_rows: int
    opening: str
    """The first row's system prompt, else its first words; empty where the row can't be read."""


def own_data(name: str) -> Path:
    """The folder below `data` that is proposed for a character's own dialogues."""
    from ollama_export.server.names import folder_name

    return DEFAULT_DATA / folder_name(name)


def data_places(root: Path = DEFAULT_DATA) -> list[Place]:
    """The folder itself, then those below it by name; folders without a training file are left out."""
    folders = [root]
    for level in range(1, _DEPTH + 1):
        folders += sorted(path for path in root.glob("/".join("*" * level)) if path.is_dir())
    return [_place(folder) for folder in folders if (folder / TRAIN).is_file()]


def _place(folder: Path) -> Place:
    rows, opening = _counted(folder / TRAIN)
    return Place(folder, rows, _counted(folder / VAL)[0], opening)


def _counted(path: Path) -> tuple[int, str]:
    """How many rows a file has, and what the first one opens with; 0 where it can't be read."""
    first = next(_lines(path), b"")
    try:
        if first.removeprefix(BOM).lstrip().startswith(b"{"):
            # rows of JSON aren't read to be counted
            return sum(1 for _ in _lines(path)), _opening(rows_of_lines(as_utf8(first)[0]))
        data = path.read_bytes()
        rows = rows_of_parquet(data) if data.startswith(MAGIC) else rows_of_text(as_utf8(data)[0])[1]
        before = list(islice(rows, 1))
        return len(before) + sum(1 for _ in rows), _opening(iter(before))
    except (OSError, BadFile):
        return 0, ""


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from (line for line in file if line.strip())
    except OSError:
        return


def _opening(rows: Iterator[FileRow]) -> str:
    first = next(rows, None)
    if first is None or first.fault:
        return ""
    row = read_row(first.content)
    return " ".join(row.messages[0]["content"].split()) if row.messages and not row.faults else ""
