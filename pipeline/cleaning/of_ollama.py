"""What takes room in Ollama beside the models themselves: backups, and what killed processes have left there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ollama_export.backups import Backup, backups_of
from ollama_export.server.client import OllamaClient
from ollama_export.server.names import parse_name
from pipeline.checks.rehearsal import left_over_rehearsals
from pipeline.cleaning.things import Thing
from pipeline.run.history import History


class Store:
    """Ollama's models, and which of them share their weights. Raises OllamaError where it doesn't answer."""

    def __init__(self, client: OllamaClient) -> None:
        self.client = client
        self._models: dict[str, Mapping[str, Any]] = {
            str(parse_name(model["name"]) or model["name"]): model for model in client.tags()
        }
        self._weights: dict[str, str] = {}

    def digest(self, name: str) -> str | None:
        """The manifest's of a model; None where there is none."""
        model = self._models.get(name)
        return str(model["digest"]) if model is not None else None

    def given_back(self, names: Collection[str]) -> int:
        """Bytes that go when these models do: what others hold as well stays."""
        going = {self._held(name): int(self._models[name].get("size") or 0) for name in names if name in self._models}
        staying = {self._held(name) for name in self._models if name not in names}
        return sum(size for held, size in going.items() if held not in staying)

    def _held(self, name: str) -> str:
        """What its weights are known by; a model whose weights aren't told has them for itself."""
        digest = str(self._models[name]["digest"])
        if digest not in self._weights:
            self._weights[digest] = self.client.stored_gguf(name) or digest
        return self._weights[digest]


def backup_things(store: Store, name: str, known: Collection[str]) -> Iterator[Thing]:
    """The backups beside a name: the older ones that runs hold, the newest, and those that nobody else could make."""
    backups = backups_of(store.client, name)
    ours = [backup for backup in backups if backup.digest in known]
    if older := [backup for backup in ours if backup != backups[0]]:
        yield _thing("old_backups", store, name, older, proposed=True)
    if ours and ours[0] == backups[0]:
        yield _thing("backup", store, name, ours[:1])
    for backup in backups:
        if backup.digest not in known:
            yield _thing("foreign_backup", store, name, [backup])


def _thing(kind: str, store: Store, name: str, backups: Sequence[Backup], *, proposed: bool = False) -> Thing:
    tags = tuple((backup.name, backup.digest) for backup in backups)
    return Thing(kind, name, store.given_back([tag for tag, _ in tags]), tags=tags, proposed=proposed)


def leftover_things(store: Store, history: History, name: str) -> Iterator[Thing]:
    """The staging tags that runs of this name have left here which are over: those are nobody's any more."""
    found = {}
    for run in history.readable(name):
        steps = run.record.get("publishing", {})
        if not run.is_over:
            continue
        for step in ("staging", "staged"):
            tag = str(steps.get(step, {}).get("tag") or "")
            digest = store.digest(tag) if tag else None
            if digest is not None:
                found[tag] = digest
    if found:
        tags = tuple(found.items())
        size = store.given_back(list(found))
        yield Thing("staging", name, size, tags=tags, proposed=True, safe=True)


def rehearsal_things(store: Store, history: History) -> Iterator[Thing]:
    """The tiny models of rehearsals whose process was killed."""
    names = left_over_rehearsals(store.client, history.home)
    tags = tuple((name, digest) for name in names if (digest := store.digest(name)))
    if tags:
        size = store.given_back([name for name, _ in tags])
        yield Thing("rehearsals", "", size, tags=tags, proposed=True, safe=True)
