"""Small files of dialogues, of which everything can be counted by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from data_desk.opened import Files, Opened, open_files


def row(*said: str, system: str = "", **more: object) -> dict[str, object]:
    """A row of user and assistant in turns."""
    head = [{"role": "system", "content": system}] if system else []
    turns = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)]
    return {"messages": [*head, *turns], **more}


def write(file: Path, rows: Sequence[dict[str, object]]) -> Path:
    """The rows, one a line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(each, ensure_ascii=False) + "\n" for each in rows]
    file.write_text("".join(lines), encoding="utf-8", newline="\n")
    return file


def opened(folder: Path, train: Sequence[dict[str, object]], val: Sequence[dict[str, object]] = ()) -> Opened:
    """What the desk makes of these rows, written to `folder`."""
    write(folder / "train.jsonl", train)
    if val:
        write(folder / "val.jsonl", val)
    return open_files(Files(folder / "train.jsonl", folder / "val.jsonl"))
