"""What takes room, all of it: looked at, nothing touched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lora_trainer.errors import OllamaError
from ollama_export.backups import names_with_backups
from ollama_export.server.client import OllamaClient
from ollama_export.server.names import same_name
from pipeline.cleaning.of_bases import base_things, leftovers_of_caches
from pipeline.cleaning.of_ollama import Store, backup_things, leftover_things, rehearsal_things
from pipeline.cleaning.of_runs import things_of_runs
from pipeline.cleaning.things import Thing, size_of
from pipeline.run.history import History
from pipeline.temporary import left_by_the_dead


@dataclass(frozen=True)
class Survey:
    """What was found."""

    things: tuple[Thing, ...]
    taken: int
    """Bytes of all runs of this home."""
    busy: tuple[str, ...]
    """Models that somebody is at work on: nothing of theirs is among the things."""
    ollama: OllamaError | None
    """What keeps Ollama from being asked; its backups aren't known then."""

    @property
    def safe(self) -> tuple[Thing, ...]:
        """Those that nobody can miss."""
        return tuple(thing for thing in self.things if thing.safe)


def survey(history: History, client: OllamaClient, only: str | None = None, *, now: datetime | None = None) -> Survey:
    """Look at everything, or at what belongs to one model. Raises ResourceError where the runs can't be read."""
    now = now or datetime.now(UTC)
    found: list[Thing] = []
    busy: list[str] = []
    names: list[str] = []
    for folder in history.folders():
        name = _name_in(history, folder)
        if only is not None and not same_name(name, only):
            continue
        if history.is_at_work(folder):
            busy.append(name)
            continue
        names.append(name)
        found += things_of_runs(history, name, folder, now)
    trouble = None
    try:
        found += _in_ollama(Store(client), history, names, busy, only)
    except OllamaError as error:
        trouble = error
    if only is None:
        if not busy:
            # who trains may be loading one, and has no record of it yet
            found += base_things(history)
        if left := (*left_by_the_dead(), *leftovers_of_caches()):
            found.append(Thing("temporary", "", size_of(left), paths=left, proposed=True, safe=True))
    taken = size_of([history.home]) if only is None else size_of([history.folder_of(only)])
    return Survey(tuple(found), taken, tuple(busy), trouble)


def _name_in(history: History, folder: Path) -> str:
    """The name as its newest record writes it; else as the folder does."""
    from ollama_export.server.names import name_of_folder

    run = next((found for found in history.newest_first(folder) if hasattr(found, "record")), None)
    return str(run.record["name"]) if run is not None else name_of_folder(folder.name)


def _in_ollama(store: Store, history: History, names: list[str], busy: list[str], only: str | None) -> list[Thing]:
    known = history.digests()
    found: list[Thing] = []
    others = [name for name in names_with_backups(store.client) if only is None or same_name(name, only)]
    named = [*names, *(name for name in others if not any(same_name(name, own) for own in (*names, *busy)))]
    for name in named:
        found += backup_things(store, name, known)
    for name in names:
        found += leftover_things(store, history, name)
    return found if only is not None else [*found, *rehearsal_things(store, history)]
