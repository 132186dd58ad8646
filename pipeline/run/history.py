"""Run records: what was asked, decided, measured and published, one folder for each run of a model.

`runs/<model>/<number>/run.json` beside `adapter/`, `checkpoints/`, `loss.png` and `Modelfile`. A record is written
whole to a temporary name and renamed, so that a kill at any moment leaves the old or the new one. `SCHEMA` counts up
when the meaning of a field changes; `MIGRATIONS` then open the older records.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lora_trainer.errors import UsageError
from lora_trainer.plan import TrainPlan

SCHEMA = 1
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From schema n to n + 1; numbered and only ever added to."""


def default_home() -> Path:
    """Where runs are kept: TRAIN_TO_OLLAMA_HOME, else `runs` beside the program."""
    return Path(os.environ.get("TRAIN_TO_OLLAMA_HOME") or Path(__file__).resolve().parents[2] / "runs")


def now() -> str:
    """The time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class Run:
    """One run of one model: its folder and its record."""

    folder: Path
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """Counted from 1 for each model name."""
        return int(self.record["number"])

    @property
    def plan(self) -> TrainPlan:
        """The numbers that were trained with."""
        return TrainPlan.from_json(self.record["plan"])

    @property
    def is_done(self) -> bool:
        """Did the run reach its end?"""
        return self.record["status"] == "done"

    @property
    def is_published(self) -> bool:
        """Did the run's model reach Ollama?"""
        return "publish" in self.record["stages"]

    def update(self, **values: Any) -> None:
        """Set fields of the record and write it."""
        self.record.update(values)
        write_json(self.folder / "run.json", self.record)

    def has_done(self, stage: str) -> bool:
        """Does the journal say that a stage is done?"""
        return stage in self.record["stages"]

    def mark_done(self, stage: str, seconds: float, **facts: Any) -> None:
        """Enter a stage into the journal, with what it brought, in one write."""
        stages = {**self.record["stages"], stage: {"finished": now(), "seconds": round(seconds, 2)}}
        self.update(stages=stages, **facts)

    def forget(self, stage: str) -> None:
        """Strike a stage from the journal, to do it again."""
        stages = {name: facts for name, facts in self.record["stages"].items() if name != stage}
        if stage == "publish":
            self.record.pop("rolled_back", None)
        self.update(stages=stages, publishing={} if stage == "publish" else self.record.get("publishing", {}))


class History:
    """All runs under one home folder."""

    def __init__(self, home: Path | None = None) -> None:
        self.home = home or default_home()

    def names(self) -> list[str]:
        """The names of all models that have a readable run, in order."""
        if not self.home.is_dir():
            return []
        newest = (self._runs_in(folder)[-1:] for folder in sorted(self.home.iterdir()) if folder.is_dir())
        return [run.record["name"] for runs in newest for run in runs]

    def runs(self, name: str) -> list[Run]:
        """All runs of a model, oldest first."""
        return self._runs_in(self._folder(name))

    def newest(self, name: str) -> Run | None:
        """The last run that was begun, whatever became of it."""
        return next(reversed(self.runs(name)), None)

    def begin(self, name: str, **values: Any) -> Run:
        """A new run with its folder and first record."""
        folder = self._folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        taken = [int(child.name) for child in folder.iterdir() if child.name.isdecimal()]
        number = max(taken, default=0) + 1
        run = Run(folder / str(number))
        run.folder.mkdir()
        run.update(
            schema=SCHEMA, name=name, number=number, status="running", created=now(), stages={}, **values
        )  # fmt: skip
        return run

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a model name against other processes; raises UsageError, at once, that says who holds it.

        The system lets go of the lock when its holder dies, however that comes.
        """
        from filelock import FileLock, Timeout

        folder = self._folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        holder = folder / "holder.json"
        lock = FileLock(folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            who = read_json(holder) or {}
            values = {"pid": who.get("pid", "?"), "host": who.get("host", "?"), "since": who.get("since", "?")}
            raise UsageError("error.lock.held", name=name, **values) from None
        try:
            write_json(holder, {"pid": os.getpid(), "host": socket.gethostname(), "since": now()})
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def _folder(self, name: str) -> Path:
        from ollama_export.server.names import folder_name

        return self.home / folder_name(name)

    def _runs_in(self, folder: Path) -> list[Run]:
        if not folder.is_dir():
            return []
        numbers = sorted(int(child.name) for child in folder.iterdir() if child.name.isdecimal() and child.is_dir())
        found = ((folder / str(number), read_json(folder / str(number) / "run.json")) for number in numbers)
        return [Run(path, migrated(record)) for path, record in found if record is not None]


def migrated(record: dict[str, Any]) -> dict[str, Any]:
    """An older record in today's schema; raises UsageError for one that a later version wrote."""
    if record["schema"] > SCHEMA:
        raise UsageError("error.record.newer", schema=record["schema"], known=SCHEMA)
    for schema in range(record["schema"], SCHEMA):
        record = MIGRATIONS[schema](record)
    return record


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file whole or not at all: temporary name, fsync, rename."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        json.dump(values, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    for attempt in range(5):
        try:
            temporary.replace(path)
            return
        except PermissionError:  # on Windows, while somebody reads the old one
            if attempt == 4:
                raise
            time.sleep(0.05 * 2**attempt)


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file; None where there is none, or not a whole one."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None
