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
from pipeline.request import training_flags

SCHEMA = 2


def _know_publications(record: dict[str, Any]) -> dict[str, Any]:
    """1 -> 2: a run knows every publication of its model, not the last one alone."""
    published = record["stages"].get("publish")
    known = record.get("ollama")
    publications = [{**known, "finished": published["finished"], "order": 0}] if published and known else []
    return {**record, "schema": 2, "publications": publications}


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _know_publications}
"""From schema n to n + 1; numbered and only ever added to."""


def default_home() -> Path:
    """Where runs are kept: TRAIN_TO_OLLAMA_HOME, else `runs` beside the program."""
    return Path(os.environ.get("TRAIN_TO_OLLAMA_HOME") or Path(__file__).resolve().parents[2] / "runs")


def version() -> str:
    """The program's own version, from pyproject.toml beside it."""
    import tomllib

    file = Path(__file__).resolve().parents[2] / "pyproject.toml"
    return str(tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"])


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
    def publications(self) -> list[dict[str, Any]]:
        """Every time that the run's model was put into Ollama, oldest first: `digest`, `gguf`, `backup`, `order`, …"""
        return list(self.record["publications"])

    @property
    def is_published(self) -> bool:
        """Did the run's model reach Ollama?"""
        return bool(self.record["publications"])

    @property
    def digests(self) -> set[str]:
        """The manifests' digests (hex) under which the run's model stood or stands in Ollama."""
        swapped = self.record.get("publishing", {}).get("swapped")
        # killed between the swap and the last line of the record
        own = {swapped["digest"]} if swapped else set()
        return own | {publication["digest"] for publication in self.record["publications"]}

    @property
    def weights(self) -> set[str]:
        """sha256 (hex) of the weights that it has or had there."""
        own = self.record.get("gguf", {}).get("digest")
        found = {publication.get("gguf") for publication in self.record["publications"]} | {own}
        return {digest for digest in found if digest}

    @property
    def identity(self) -> dict[str, Any]:
        """The flags that trained it, of what its record has of the request."""
        return training_flags(self.record["request"])

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

    def digests(self) -> frozenset[str]:
        """The digests (hex) of all models in Ollama that a run record here holds, whatever their names."""
        return frozenset(digest for name in self.names() for run in self.runs(name) for digest in run.digests)

    def next_order(self, name: str) -> int:
        """What the next publication under a name is counted as: publications are in order whatever the clock says."""
        taken = [publication.get("order", 0) for run in self.runs(name) for publication in run.publications]
        return max(taken, default=0) + 1

    def begin(self, name: str, **values: Any) -> Run:
        """A new run with its folder and first record."""
        folder = self._folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        taken = [int(child.name) for child in folder.iterdir() if child.name.isdecimal()]
        number = max(taken, default=0) + 1
        run = Run(folder / str(number))
        run.folder.mkdir()
        run.update(
            schema=SCHEMA,
            program=version(),
            name=name,
            number=number,
            status="running",
            created=now(),
            stages={},
            publications=[],
            **values,
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
