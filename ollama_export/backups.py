"""The tags of ours beside a model's name: backups of what stood there, and stagings of what is to stand there."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date

from lora_trainer.errors import OllamaError
from ollama_export.server.client import OllamaClient
from ollama_export.server.names import ModelName, check_name, parse_name

_BACKUP = re.compile(r"backup-(\d{8})-(\d+)", re.IGNORECASE)

_HANGING = re.compile(r"(?:(.+)-)?backup-\d{8}-\d+", re.IGNORECASE)
"""A backup's tag, behind that of its model where that has one."""


@dataclass(frozen=True)
class Backup:
    """One backup: its whole name, and the manifest's digest (hex) of the model that it keeps."""

    name: str
    digest: str


def backups_of(client: OllamaClient, name: str) -> list[Backup]:
    """The backups beside a name, newest first."""
    own = parsed(name)
    prefix = "" if own.tag == "latest" else f"{own.tag}-"
    found = []
    for model in client.tags():
        other = parse_name(model["name"])
        if other is None or _model(other) != _model(own) or not other.tag.lower().startswith(prefix.lower()):
            continue
        if match := _BACKUP.fullmatch(other.tag[len(prefix) :]):
            found.append(((int(match[1]), int(match[2])), Backup(str(other), model["digest"])))
    return [backup for _, backup in sorted(found, key=lambda entry: entry[0], reverse=True)]


def names_with_backups(client: OllamaClient) -> list[str]:
    """The names beside which there are backups, whether or not the model itself is there."""
    found = []
    for model in client.tags():
        own = parse_name(model["name"])
        match = _HANGING.fullmatch(own.tag) if own is not None else None
        if own is not None and match is not None:
            found.append(str(replace(own, tag=match[1] or "latest")))
    return list(dict.fromkeys(found))


def back_up(client: OllamaClient, name: str, current: str) -> str:
    """Keep the model of digest `current` that stands under `name` as its newest backup; the backup's name.

    An older backup of the same model doesn't do: the newest ones are those that stay.
    """
    existing = backups_of(client, name)
    if existing and existing[0].digest == current:
        return existing[0].name
    own = parsed(name)
    taken = [(int(match[1]), int(match[2])) for backup in existing if (match := _BACKUP.search(backup.name))]
    today = int(date.today().strftime("%Y%m%d"))
    day, number = max([(today, 0), *taken])  # also where a clock was set back: the newest sorts first
    tag = own.with_tag(f"backup-{day:08d}-{number + 1}")
    client.copy(name, tag)
    return tag


def superfluous(
    backups: Collection[Backup], keep: int, known: Collection[str], *, everything: bool
) -> tuple[list[Backup], list[Backup]]:
    """Of backups, newest first, those that may be deleted so that `keep` stay, and those that nobody else could make.

    The latter hold a digest that isn't in `known` (digests that run records hold): a model made elsewhere, or by hand,
    which stays, unless `everything` may go.
    """
    beyond = list(backups)[max(0, keep) :]
    doomed = [backup for backup in beyond if everything or backup.digest in known]
    return doomed, [backup for backup in beyond if backup not in doomed]


@dataclass(frozen=True)
class RolledBack:
    """What a roll back did: the backup that stands again, and the one that was made of what stood before, if any."""

    backup: Backup
    kept: str | None


def rollback(client: OllamaClient, name: str, digests: Collection[str] | None = None) -> RolledBack:
    """Put an older backup back under the name: each time the next older one, or the newest with one of `digests`.

    What stands is backed up first, unless it is itself one of the backups. All backups stay.
    Raises OllamaError("error.publish.no_backup") where there is none, or none that is older.
    """
    current = client.digest(name)
    backups = backups_of(client, name)
    stands_at = next((number for number, backup in enumerate(backups) if backup.digest == current), -1)
    if digests is None:
        # a model may have been backed up twice: it is as old as its newest backup, or the steps would go round
        newer = {backup.digest for backup in backups[: stands_at + 1]}
        wanted = next((backup for backup in backups if backup.digest not in newer), None)
    else:
        wanted = next((backup for backup in backups if backup.digest in digests), None)
    if wanted is None:
        raise OllamaError("error.publish.no_older_backup" if stands_at >= 0 else "error.publish.no_backup", name=name)
    kept = back_up(client, name, current) if current is not None and stands_at < 0 else None
    client.copy(wanted.name, name)
    client.unload(name)
    return RolledBack(wanted, kept)


def parsed(name: str) -> ModelName:
    """The parts of a legal name; raises UsageError for others."""
    found = parse_name(check_name(name))
    assert found is not None
    return found


def _model(name: ModelName) -> str:
    return f"{name.host}/{name.namespace}/{name.model}".lower()
