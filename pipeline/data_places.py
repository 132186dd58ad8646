"""Where dialogues lie: `data/` and the folders below it that have a training file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lora_trainer.data.formats import read_row

DEFAULT_DATA = Path("data")
TRAIN, VAL = "train.jsonl", "val.jsonl"
_DEPTH = 2
"""Folders below `data/` that are looked into, one inside the other."""


@dataclass(frozen=True)
class Place:
    """A folder with dialogues."""

    folder: Path
    rows: int
    """Lines of the training file that aren't empty, usable or not."""
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
    first = next(_lines(folder / TRAIN), b"")
    rows, val_rows = (sum(1 for _ in _lines(folder / name)) for name in (TRAIN, VAL))
    return Place(folder, rows, val_rows, _opening(first))


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from (line for line in file if line.strip())
    except OSError:
        return


def _opening(line: bytes) -> str:
    try:
        row = read_row(json.loads(line.decode("utf-8-sig")))
    except (ValueError, RecursionError):
        return ""
    return " ".join(row.messages[0]["content"].split()) if row.messages and not row.faults else ""
