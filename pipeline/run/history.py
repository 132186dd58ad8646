"""Run records: what was asked, decided, measured and published, one folder for each run of a model.

`runs/<model>/<number>/run.json` beside `adapter/`, `checkpoints/`, `loss.png` and `Modelfile`. A record is written
whole to a temporary name and renamed, so that a kill at any moment leaves the old or the new one.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from file_formats.durable import sync_folder
from file_formats.errors import BrokenFile
from lora_trainer.errors import ResourceError, UsageError, as_disk_error
from pipeline.run.record import SCHEMA, migrated, read_json, read_record, version, write_json
from pipeline.run.run import Run as Run
from pipeline.run.run import now as now

if TYPE_CHECKING:
    from filelock import BaseFileLock

PATIENCE = 1.0
"""Seconds that a process may take between its lock and its name in it, or between the removal of both."""


def default_home() -> Path:
    """Where runs are kept: TRAIN_TO_OLLAMA_HOME, else `runs` beside the program."""
    return Path(os.environ.get("TRAIN_TO_OLLAMA_HOME") or Path(__file__).resolve().parents[2] / "runs")


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
        newest = (self._runs_in(folder)[-1:] for folder in self.folders())
        return [run.record["name"] for runs in newest for run in runs]

    def runs(self, name: str) -> list[Run]:
        """All runs of a model, oldest first; raises UsageError where a later version of the program wrote one."""
        found = list(self._scan(self._folder(name)))
        newer = next((run for run in found if isinstance(run, BrokenRun) and run.schema is not None), None)
        if newer is not None:
            values = {"name": newer.name, "number": newer.number, "path": newer.folder / "run.json"}
            raise UsageError("error.record.newer", schema=newer.schema, known=SCHEMA, **values)
        return [run for run in found if isinstance(run, Run)]

    def numbered(self, name: str, number: int | None) -> Run | None:
        """The run with a number, of those of `runs`; None where there is none."""
        return next((run for run in self.runs(name) if run.number == number), None)

    def readable(self, name: str) -> list[Run]:
        """Those of a model's runs whose record this version can read, oldest first."""
        return self._runs_in(self._folder(name))

    def broken(self, name: str | None = None) -> list[BrokenRun]:
        """The runs, of one model or of all, whose record can't be read, be it that a later version wrote it."""
        folders = self.folders() if name is None else [self._folder(name)]
        return [found for folder in folders for found in self._scan(folder) if isinstance(found, BrokenRun)]

    def newest(self, name: str) -> Run | None:
        """The last run that was begun, whatever became of it."""
        return next(reversed(self.runs(name)), None)

    def digests(self) -> frozenset[str]:
        """The digests (hex) of all models in Ollama that a run record here holds, whatever their names."""
        runs = (run for folder in self.folders() for run in self._runs_in(folder))
        return frozenset(digest for run in runs for digest in run.digests)

    def next_order(self, name: str) -> int:
        """What the next publication under a name is counted as: publications are in order whatever the clock says."""
        taken = [publication.get("order", 0) for run in self.runs(name) for publication in run.publications]
        return max(taken, default=0) + 1

    def begin(self, name: str, **values: Any) -> Run:
        """A new run with its folder and first record."""
        folder = self._folder(name)
        with usable(folder):
            folder.mkdir(parents=True, exist_ok=True)
            number = self.next_number(name)
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

    def next_number(self, name: str) -> int:
        """What the next run of a name is counted as."""
        numbered = [child for child in _children(self._folder(name)) if child.name.isdecimal()]
        return max((int(child.name) for child in numbered if not _never_was(child)), default=0) + 1

    def take_in(self, name: str, staged: Path, record: Mapping[str, Any]) -> Run:
        """A run that came from elsewhere, in a folder beside the others, under its number; whoever calls has the lock.

        With its name it is whole: its record is written before.
        """
        with usable(staged):
            number = self.next_number(name)
            run = Run(staged, {**record, "name": name, "number": number})
            write_json(staged / "run.json", run.record)
            run.folder = self._folder(name) / str(number)
            if run.folder.exists():  # of one that was killed before its first record
                shutil.rmtree(run.folder)
            staged.rename(run.folder)
            sync_folder(run.folder.parent)
        return run

    def folder_of(self, name: str) -> Path:
        """Where the runs of a name are, or would be."""
        return self._folder(name)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a model name against other processes; raises UsageError, at once, that says who holds it.

        The system lets go of the lock when its holder dies, however that comes. Where there is nothing to keep in the
        end, no folder is left behind.
        """
        from filelock import FileLock

        folder = self._folder(name)
        holder = folder / "holder.json"
        lock = FileLock(folder / "lock")
        new_home = not self.home.exists()
        self._hold(name, folder, lock)
        try:
            with usable(folder):
                write_json(holder, {"pid": os.getpid(), "host": socket.gethostname(), "since": now()})
            yield
        finally:
            holder.unlink(missing_ok=True)
            _let_go(folder, lock)
            if new_home:
                with suppress(OSError):
                    self.home.rmdir()

    def is_at_work(self, folder: Path) -> bool:
        """Whether a living process holds the name whose runs are in `folder`, on whichever machine it is."""
        from filelock import FileLock, Timeout

        if not (folder / "lock").exists():
            return False
        try:
            with FileLock(folder / "lock").acquire(timeout=0):
                return False
        except Timeout:
            return True

    def _hold(self, name: str, folder: Path, lock: BaseFileLock) -> None:
        from filelock import Timeout

        until = time.monotonic() + PATIENCE
        while True:
            late = time.monotonic() > until
            with usable(folder):
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    lock.acquire(timeout=0)
                    return
                # another process has removed the folder, empty as it was: behind mkdir, or within it, between the
                # refusal to make what is there and the look at what that is
                except (FileNotFoundError, FileExistsError):
                    if late:
                        raise
                except Timeout:
                    who = read_json(folder / "holder.json")
                    if who is not None or late:
                        known = who or {}
                        values = {"pid": known.get("pid", "?"), "host": known.get("host", "?"), "since": _since(known)}
                        raise UsageError("error.lock.held", name=name, **values) from None
            time.sleep(0.005)  # it is about to let go, or to say who it is

    def _folder(self, name: str) -> Path:
        from ollama_export.server.names import folder_name

        return self.home / folder_name(name)

    def folders(self) -> list[Path]:
        """The folders of all models, in order."""
        return sorted(child for child in _children(self.home) if child.is_dir())

    def _runs_in(self, folder: Path) -> list[Run]:
        return [found for found in self._scan(folder) if isinstance(found, Run)]

    def newest_first(self, folder: Path) -> Iterator[Run | BrokenRun]:
        """The runs in a model's folder, each read when it is asked for."""
        return self._scan(folder, newest_first=True)

    def _scan(self, folder: Path, *, newest_first: bool = False) -> Iterator[Run | BrokenRun]:
        """The runs in a model's folder, oldest first."""
        from ollama_export.server.names import name_of_folder

        numbered = (child for child in _children(folder) if child.name.isdecimal() and child.is_dir())
        for number in sorted((int(child.name) for child in numbered), reverse=newest_first):
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


def _let_go(folder: Path, lock: BaseFileLock) -> None:
    """Release a lock, and remove its folder where that holds nothing else.

    The file goes while it is still held: who opens it then sees that it is no longer the one in the folder. Windows
    removes no open file.
    """
    own = folder / "lock"
    with suppress(OSError):
        if os.name != "nt" and not any(child != own for child in folder.iterdir()):
            own.unlink()
    lock.release()
    with suppress(OSError):
        if os.name == "nt" and not any(child != own for child in folder.iterdir()):
            own.unlink(missing_ok=True)
        folder.rmdir()


def _since(who: Mapping[str, Any]) -> str:
    """Since when a lock's holder has it, as the user's own clock says."""
    try:
        return datetime.fromisoformat(who["since"]).astimezone().strftime("%Y-%m-%d %H:%M")
    except (KeyError, TypeError, ValueError):
        return "?"


def _never_was(folder: Path) -> bool:
    """Whether the run of this folder was killed before its first record: its number is free."""
    return folder.is_dir() and {child.name for child in folder.iterdir()} <= {"run.json.new"}


@contextmanager
def usable(folder: Path) -> Iterator[None]:
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
    with usable(folder):
        try:
            return list(folder.iterdir())
        except FileNotFoundError:
            return []
