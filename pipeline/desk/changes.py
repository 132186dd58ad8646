"""What is changed at the data desk: each change is written at once, whole, with a backup of what was there before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_desk.changing.row_file import Backups as Backups
from data_desk.changing.row_file import change, line_of, read_rows
from data_desk.changing.split import proposed as proposed
from data_desk.changing.split import split_off
from data_desk.changing.turns import Turn as Turn
from data_desk.changing.turns import turns_of, with_system, with_turn
from data_desk.opened import Opened
from data_desk.statistics import DRAFTED as DRAFTED
from lora_trainer.chat_format import Message
from lora_trainer.data.findings import Finding
from lora_trainer.data.formats import read_row
from lora_trainer.errors import DataError

SEED = 42
"""By which validation rows are chosen, as a training does where nobody says otherwise."""


def check(file: Path) -> None:
    """Raise DataError where a file hasn't a row on each line, so that none of them can be changed by itself."""
    read_rows(file)


def add_dialogue(
    opened: Opened, messages: Sequence[Message], backups: Backups, *, source: str | None = None
) -> Path | None:
    """Add a row, with the system prompt of the others; returns a new backup. Raises DataError as all of these do.

    `source`: what the row says of where it comes from.
    """
    system = opened.statistics.systems.common
    head = [{"role": "system", "content": system}] if system else []
    content: dict[str, Any] = {"messages": [*head, *messages], **({"source": source} if source else {})}
    rows = read_rows(opened.files.train)
    _check(content, rows.path, max(rows.lines, default=0) + 1)
    return change(rows, backups, added=[line_of(content)])


def turns(opened: Opened, line: int) -> list[Turn]:
    """What is said in the row on a line."""
    return turns_of(read_rows(opened.files.train).content(line))


def change_turn(opened: Opened, line: int, at: int, text: str, backups: Backups) -> Path | None:
    """Let one turn say something else."""
    rows = read_rows(opened.files.train)
    content = with_turn(rows.content(line), at, text)
    _check(content, rows.path, line)
    return change(rows, backups, changed={line: content})


def delete_row(opened: Opened, line: int, backups: Backups) -> Path | None:
    """Take a row away."""
    return change(read_rows(opened.files.train), backups, without=[line])


def split(opened: Opened, count: int, backups: Backups, seed: int = SEED) -> int:
    """Move at most so many rows to the validation file; returns how many.

    They stand in both files for a moment, never in none.
    """
    train, val = read_rows(opened.files.train), read_rows(opened.files.val)
    lines = split_off(opened.train, count, seed)
    if lines:
        change(val, backups, added=[train.lines[line] for line in lines])
        change(train, backups, without=lines)
    return len(lines)


def change_system(opened: Opened, text: str, backups: Backups) -> int:
    """Give all rows of both files this system prompt, or with an empty one none; returns how many are others now."""
    count = 0
    files = [(opened.files.train, opened.train), (opened.files.val, opened.val)]
    read = [(read_rows(file), dialogues) for file, dialogues in files]
    for rows, dialogues in read:
        lines = [dialogue.line for dialogue in dialogues if (dialogue.system or "") != text]
        if lines:
            change(rows, backups, changed={line: with_system(rows.content(line), text) for line in lines})
        count += len(lines)
    return count


def _check(content: Any, file: Path, line: int) -> None:
    faults = [Finding("fault", str(file), line, key, values) for key, values in read_row(content).faults.items()]
    if faults:
        raise DataError("error.data.faults", count=len(faults), findings=faults)
