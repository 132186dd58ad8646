"""All characters at a glance: what stands, what was trained last, what is unfinished.

Of each model's records only as many are read as that takes, the newest first.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_trainer.errors import UsageError
from ollama_export.server.names import same_name
from pipeline.outcome.card import habit_count
from pipeline.run.history import BrokenRun, History, Run
from pipeline.run.record import read_json
from pipeline.run.run import left_over


@dataclass(frozen=True)
class Unfinished:
    """The run of a name that didn't reach its end, or waits to be decided about."""

    number: int
    percent: int
    """How much of its training is kept, 0 to 100."""
    trained: bool
    """Only what comes after the training is left."""
    works: bool
    """A process of this machine is at it right now."""
    waits: bool = False
    """All is done but that somebody decides whether its model replaces what stands."""


@dataclass(frozen=True)
class Character:
    """One model with a record."""

    name: str
    in_ollama: bool | None
    """Whether Ollama has the name; None where it didn't say."""
    number: int | None
    """The run whose model stands there; where Ollama has none or doesn't say, the one published last, else the newest
    that is done. None where Ollama's is no run's, or none was ever done."""
    epochs: float | None
    """Of that run."""
    last: str
    """When the newest run began, or ended: ISO 8601, UTC."""
    place: str
    """Where the newest run's dialogues are: the folder of a train.jsonl, with a slash, else the file."""
    rows: int | None
    """How many they are."""
    unfinished: Unfinished | None
    habits: tuple[int, int] | None = None
    """In how many of how many answers the run that stands had the commonest habit of its data; None where nobody asked
    it, or where there is none."""


@dataclass(frozen=True)
class Overview:
    """All of them, the one that was trained last first."""

    characters: tuple[Character, ...]
    broken: int
    """How many of the records that were looked into can't be read."""


def overview(history: History, models: Mapping[str, str] | None) -> Overview:
    """Read what `history` has; `models` are Ollama's (name -> digest), None where that is not known.

    Raises ResourceError where the records can't be read at all.
    """
    characters, broken = [], 0
    for folder in history.folders():
        seen = _Seen(history.newest_first(folder))
        character = _character(folder, seen, models)
        broken += seen.broken
        if character is not None:
            characters.append(character)
    characters.sort(key=lambda one: one.last, reverse=True)
    return Overview(tuple(characters), broken)


class _Seen:
    """The readable runs of one model, newest first, read no further than asked for."""

    def __init__(self, found: Iterator[Run | BrokenRun]) -> None:
        self._found = found
        self._runs: list[Run] = []
        self.broken = 0

    def __iter__(self) -> Iterator[Run]:
        yield from self._runs
        for run in self._found:
            if isinstance(run, BrokenRun):
                self.broken += 1
                continue
            self._runs.append(run)
            yield run


def _character(folder: Path, runs: _Seen, models: Mapping[str, str] | None) -> Character | None:
    newest = next(iter(runs), None)
    if newest is None:
        return None
    record = newest.record
    name = str(record["name"])
    there = next((digest for other, digest in (models or {}).items() if same_name(other, name)), None)
    known = _last_published(runs) if there is None else next((run for run in runs if there in run.digests), None)
    place, rows = _data(record)
    left = left_over(runs)
    return Character(
        name=name,
        in_ollama=None if models is None else there is not None,
        number=known.number if known else None,
        epochs=_epochs(known) if known else None,
        last=str(record.get("finished") or record.get("created") or ""),
        place=place,
        rows=rows,
        unfinished=None if left is None else _unfinished(folder, left),
        habits=habit_count(known.record) if known else None,
    )


def _last_published(runs: _Seen) -> Run | None:
    published = [run for run in runs if run.publications]
    if published:
        return max(published, key=lambda run: (run.publications[-1].get("order", 0), run.publications[-1]["finished"]))
    return next((run for run in runs if run.is_done), None)


def _epochs(run: Run) -> float | None:
    try:
        # the whole plan would load all that a plan can be asked for
        return float((run.taught_point or run.record["plan"])["epochs"])
    except (KeyError, TypeError, ValueError):
        return None


def _data(record: Mapping[str, Any]) -> tuple[str, int | None]:
    data = record.get("data") or {}
    file = str(data.get("train_file") or next(iter(data.get("files") or {}), ""))
    folder, _, name = file.replace("\\", "/").rpartition("/")
    return (f"{folder}/" if name == "train.jsonl" and folder else file), data.get("rows")


def _unfinished(folder: Path, run: Run) -> Unfinished:
    return Unfinished(run.number, percent_kept(run), run.has_done("train"), is_held(folder), run.is_waiting)


def percent_kept(run: Run) -> int:
    """How much of a run's training is kept, 0 to 100: the step of the newest checkpoint, of all steps."""
    if run.has_done("train"):
        return 100
    try:
        names = [path.name for path in (run.folder / "checkpoints").iterdir()]
        total = run.plan.total_steps(int(run.record["data"]["rows"]))
    except (OSError, KeyError, TypeError, ValueError, UsageError):
        return 0
    steps = [int(name.rpartition("-")[2]) for name in names if name.startswith("checkpoint-") and name[11:].isdigit()]
    return min(100, 100 * max(steps, default=0) // total)


def is_held(folder: Path) -> bool:
    """Whether a living process holds the name; who holds it from another machine is believed."""
    who = read_json(folder / "holder.json")
    if who is None:
        return False
    if who.get("host") != socket.gethostname() or os.name == "nt":
        return True
    try:
        os.kill(int(who["pid"]), 0)
    except (ProcessLookupError, KeyError, TypeError, ValueError):
        return False
    except PermissionError:
        return True
    return True
