"""Run records: what was asked, decided, measured and published, one folder for each run of a model.

`runs/<model>/<number>/run.json` beside `adapter/`, `checkpoints/`, `loss.png` and `Modelfile`. A record is written
whole to a temporary name and renamed, so that a kill at any moment leaves the old or the new one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from file_formats.errors import BrokenFile
from lora_trainer.errors import ResourceError, UsageError, as_disk_error
from lora_trainer.plan import TrainPlan
from pipeline.request import training_flags
from pipeline.run.record import SCHEMA, migrated, read_json, read_record, version, write_json


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


@dataclass(frozen=True)
class BrokenRun:
    """A run whose record can't be read: it is told, and passed over by everything else."""

    name: str
    number: int
    folder: Path
    reason: str
    """What was found in place of a record."""
    schema: int | None = None
    """The record's, where it is only too new: a later version of this program wrote it."""

    @property
    def adapter(self) -> Path | None:
        """What was trained, where that is still there."""
        adapter = self.folder / "adapter"
        return adapter if adapter.is_dir() else None


class History:
    """All runs under one home folder; raises ResourceError where that can't be read or written."""

    def __init__(self, home: Path | None = None) -> None:
        self.home = home or default_home()

    def names(self) -> list[str]:
        """The names of all models that have a readable run, in order; of a later version's none is readable."""
        newest = (self._runs_in(folder)[-1:] for folder in self._folders())
        return [run.record["name"] for runs in newest for run in runs]

    def runs(self, name: str) -> list[Run]:
        """All runs of a model, oldest first; raises UsageError where a later version of the program wrote one."""
        found = list(self._scan(self._folder(name)))
        newer = next((run for run in found if isinstance(run, BrokenRun) and run.schema is not None), None)
        if newer is not None:
            values = {"name": newer.name, "number": newer.number, "path": newer.folder / "run.json"}
            raise UsageError("error.record.newer", schema=newer.schema, known=SCHEMA, **values)
        return [run for run in found if isinstance(run, Run)]

    def readable(self, name: str) -> list[Run]:
        """Those of a model's runs whose record this version can read, oldest first."""
        return self._runs_in(self._folder(name))

    def broken(self, name: str | None = None) -> list[BrokenRun]:
        """The runs, of one model or of all, whose record can't be read, be it that a later version wrote it."""
        folders = self._folders() if name is None else [self._folder(name)]
        return [found for folder in folders for found in self._scan(folder) if isinstance(found, BrokenRun)]

    def newest(self, name: str) -> Run | None:
        """The last run that was begun, whatever became of it."""
        return next(reversed(self.runs(name)), None)

    def digests(self) -> frozenset[str]:
        """The digests (hex) of all models in Ollama that a run record here holds, whatever their names."""
        runs = (run for folder in self._folders() for run in self._runs_in(folder))
        return frozenset(digest for run in runs for digest in run.digests)

    def next_order(self, name: str) -> int:
        """What the next publication under a name is counted as: publications are in order whatever the clock says."""
        taken = [publication.get("order", 0) for run in self.runs(name) for publication in run.publications]
        return max(taken, default=0) + 1

    def begin(self, name: str, **values: Any) -> Run:
        """A new run with its folder and first record."""
        folder = self._folder(name)
        with _usable(folder):
            folder.mkdir(parents=True, exist_ok=True)
            numbered = [child for child in folder.iterdir() if child.name.isdecimal()]
            number = max((int(child.name) for child in numbered if not _never_was(child)), default=0) + 1
            run = Run(folder / str(number))
            run.folder.mkdir(exist_ok=True)
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
        holder = folder / "holder.json"
        lock = FileLock(folder / "lock")
        with _usable(folder):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                who = read_json(holder) or {}
                values = {"pid": who.get("pid", "?"), "host": who.get("host", "?"), "since": who.get("since", "?")}
                raise UsageError("error.lock.held", name=name, **values) from None
        try:
            with _usable(folder):
                write_json(holder, {"pid": os.getpid(), "host": socket.gethostname(), "since": now()})
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def _folder(self, name: str) -> Path:
        from ollama_export.server.names import folder_name

        return self.home / folder_name(name)

    def _folders(self) -> list[Path]:
        return sorted(child for child in _children(self.home) if child.is_dir())

    def _runs_in(self, folder: Path) -> list[Run]:
        return [found for found in self._scan(folder) if isinstance(found, Run)]

    def _scan(self, folder: Path) -> Iterator[Run | BrokenRun]:
        """The runs in a model's folder, oldest first."""
        from ollama_export.server.names import name_of_folder

        numbered = (child for child in _children(folder) if child.name.isdecimal() and child.is_dir())
        for number in sorted(int(child.name) for child in numbered):
            run = folder / str(number)
            try:
                record = read_record(run / "run.json")
                if record["schema"] > SCHEMA:
                    reason = f"schema {record['schema']}, written by a later version"
                    yield BrokenRun(name_of_folder(folder.name), number, run, reason, record["schema"])
                else:
                    yield Run(run, migrated(record))
            except BrokenFile as broken:
                # a run that was killed before its first record has nothing to be told of
                if broken.path.exists() or (run / "adapter").exists() or (run / "checkpoints").exists():
                    yield BrokenRun(name_of_folder(folder.name), number, run, broken.reason)


def _never_was(folder: Path) -> bool:
    """Whether the run of this folder was killed before its first record: its number is free."""
    return folder.is_dir() and {child.name for child in folder.iterdir()} <= {"run.json.new"}


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    """Raise ResourceError where runs can't be read or written here."""
    try:
        yield
    except OSError as error:
        disk = as_disk_error(error, str(folder))
        if disk is not None and disk.key == "error.disk.full_somewhere":
            raise disk from error
        raise ResourceError(
            "error.home.unusable", path=error.filename or folder, reason=error.strerror or str(error)
        ) from error


def _children(folder: Path) -> list[Path]:
    with _usable(folder):
        try:
            return list(folder.iterdir())
        except FileNotFoundError:
            return []
