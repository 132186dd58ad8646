"""Removing what was chosen: each under its model's lock, looked at once more, and never by halves.

A folder is renamed before its files go, so that a kill in the middle leaves a leftover and nothing that looks whole.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_trainer.errors import OllamaError, ResourceError, UsageError
from lora_trainer.events import Listener
from ollama_export.backups import backups_of
from ollama_export.server.client import OllamaClient
from pipeline.cleaning.of_bases import LEAVING, base_things, leftovers_of_caches
from pipeline.cleaning.of_runs import DELETING, leftovers_in, unused_points
from pipeline.cleaning.things import Thing, size_of
from pipeline.outcome.points import drop_points
from pipeline.publishing import gguf_path
from pipeline.run.corrections import corrections_of
from pipeline.run.history import History, Run
from pipeline.stages import decline
from pipeline.temporary import left_by_the_dead


def remove(thing: Thing, history: History, client: OllamaClient, listener: Listener) -> None:
    """Remove one thing, if it is still what it was.

    Raises UsageError where somebody is at work on its model, or it has changed since it was looked at, OllamaError
    where Ollama doesn't answer, ResourceError where a file can't be removed.
    """
    has_lock = thing.kind not in ("base", "temporary", "rehearsals")
    with history.lock(thing.name) if has_lock else nullcontext(), _usable():
        if thing.kind in ("old_backups", "backup", "foreign_backup", "staging", "rehearsals"):
            _delete_tags(thing, client)
        elif thing.kind == "temporary":
            _delete_leftovers((*left_by_the_dead(), *leftovers_of_caches()), thing)
        elif thing.kind == "leftovers":
            _delete_leftovers(leftovers_in(history.folder_of(thing.name)), thing)
        elif thing.kind == "base":
            _delete_base(thing, history)
        elif thing.kind == "broken":
            _delete_broken(thing, history)
        else:
            for number in thing.runs:
                _OF_RUNS[thing.kind](_run(history, thing, number), listener)


def delete_folder(folder: Path, prefix: str = DELETING) -> None:
    """Delete a folder; whenever this is cut off, what is left has another name, which begins with `prefix`."""
    doomed = folder.with_name(f"{prefix}{uuid.uuid4().hex[:8]}")
    folder.rename(doomed)
    shutil.rmtree(doomed)


@dataclass(frozen=True)
class Whole:
    """A character with all that belongs to it."""

    name: str
    runs: int
    tags: tuple[str, ...]
    """Its name and backups in Ollama."""
    bytes: int
    needed_by: tuple[str, ...]
    """Other characters that were trained on top of it, as it stands in Ollama."""


def whole(name: str, history: History, client: OllamaClient) -> Whole:
    """What goes when a character does. Raises OllamaError where it was put into Ollama and that doesn't answer."""
    from pipeline.cleaning.of_ollama import Store

    folder = history.folder_of(name)
    tags: tuple[str, ...] = ()
    in_store = 0
    try:
        backups = [backup.name for backup in backups_of(client, name)]
        tags = (*((name,) if client.exists(name) else ()), *backups)
        in_store = Store(client).given_back(tags)
    except OllamaError:
        if any(run.is_published for run in history.readable(name)):
            raise
    on = [other for other in history.names() if other != name and _stands_on(history, other, name)]
    numbered = [child for child in folder.iterdir() if child.name.isdecimal()] if folder.is_dir() else []
    return Whole(name, len(numbered), tags, size_of([folder]) + in_store, tuple(on))


def delete_whole(found: Whole, history: History, client: OllamaClient) -> None:
    """Delete a character: its backups and its name in Ollama, what was corrected of it, its runs, the newest first.

    Raises UsageError where somebody is at work on it, OllamaError, ResourceError; what is left then is whole.
    """
    folder = history.folder_of(found.name)
    with history.lock(found.name), _usable():
        for tag in reversed(found.tags):
            client.delete(tag, missing_ok=True)
        # before the runs: what is left of a character is never what another one of its name would learn
        corrections_of(history, found.name).unlink(missing_ok=True)
        numbers = [child for child in folder.iterdir() if child.name.isdecimal()]
        for run in sorted(numbers, key=lambda child: int(child.name), reverse=True):
            delete_folder(run)
        for path in leftovers_in(folder):
            _delete(path)


def _stands_on(history: History, other: str, name: str) -> bool:
    bases = ((run.record.get("base") or {}).get("source") for run in history.readable(other))
    return f"ollama:{name}" in bases


def _run(history: History, thing: Thing, number: int) -> Run:
    run = next((run for run in history.readable(thing.name) if run.number == number), None)
    if run is None:
        raise UsageError("error.clean.changed", name=thing.name)
    return run


def _delete_tags(thing: Thing, client: OllamaClient) -> None:
    for name, digest in thing.tags:
        now = client.digest(name)
        if now not in (None, digest):
            raise UsageError("error.clean.changed", name=name)
        client.delete(name, missing_ok=True)


def _delete_leftovers(there: tuple[Path, ...], thing: Thing) -> None:
    """Those that are still leftovers."""
    for path in thing.paths:
        if path in there:
            _delete(path)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _delete_base(thing: Thing, history: History) -> None:
    if any(map(history.is_at_work, history.folders())):
        raise UsageError("error.clean.busy", name=thing.name)
    if not any(other.paths == thing.paths for other in base_things(history)):
        raise UsageError("error.clean.changed", name=thing.name)
    for path in thing.paths:
        delete_folder(path, LEAVING)


def _delete_broken(thing: Thing, history: History) -> None:
    for number in thing.runs:
        broken = next((one for one in history.broken(thing.name) if one.number == number), None)
        if broken is None or broken.schema is not None:
            raise UsageError("error.clean.changed", name=thing.name)
        delete_folder(broken.folder)


def _checkpoints(run: Run, _: Listener) -> None:
    _require(run, run.is_over)
    if (run.folder / "checkpoints").is_dir():
        doomed = run.folder.parent / f"{DELETING}{uuid.uuid4().hex[:8]}"
        (run.folder / "checkpoints").rename(doomed)
        shutil.rmtree(doomed)


def _points(run: Run, _: Listener) -> None:
    _require(run, run.is_over)
    drop_points(run)
    assert not unused_points(run)


def _ggufs(run: Run, listener: Listener) -> None:
    _require(run, run.is_over)
    if gguf_path(run).exists():
        from pipeline.tidying import remove_gguf, told_if_it_fails

        told_if_it_fails([lambda: remove_gguf(run)], run, listener)


def _waiting(run: Run, listener: Listener) -> None:
    _require(run, run.has_done("train") and not run.is_over)
    # without one there is no Modelfile either
    decline(run, listener, keeps_gguf=not gguf_path(run).exists())


def _unfinished(run: Run, _: Listener) -> None:
    _require(run, not run.has_done("train"))
    delete_folder(run.folder)


def _require(run: Run, holds: bool) -> None:
    if not holds:
        raise UsageError("error.clean.changed", name=run.record["name"])


_OF_RUNS: dict[str, Callable[[Run, Listener], None]] = {
    "checkpoints": _checkpoints,
    "points": _points,
    "ggufs": _ggufs,
    "waiting": _waiting,
    "unfinished": _unfinished,
}


@contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        values: dict[str, Any] = {"path": error.filename or "?", "reason": error.strerror or str(error)}
        raise ResourceError("error.clean.not_removed", **values) from error
