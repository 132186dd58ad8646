"""Put a model under its name in Ollama: stage, prove, back up, swap, clean.

Until the swap, one copy of a manifest, the old model answers under the name. Every step can be cut off at any moment
and the whole be called again: what is done is known by the journal and by the digests that the server tells.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lora_trainer.errors import OllamaError
from ollama_export.backups import back_up, backups_of, parsed, superfluous
from ollama_export.greedy import Greedy
from ollama_export.proof import (
    ANSWER_TOKENS,
    Finding,
    Proof,
    ProofFailed,
    Report,
    is_held,
    prove,
    report_nothing,
)
from ollama_export.server.client import OllamaClient
from ollama_export.server.transport import Refused

Mark = Callable[..., None]
"""mark(step, **facts): writes a step with its facts (JSON values) into the run's journal."""

_ATTEMPTS = 3
"""How often somebody else may change what we are about to replace, before we give up."""


@dataclass(frozen=True)
class Publication:
    """What is to stand under a name in Ollama."""

    name: str
    gguf: Path
    digest: str
    """sha256 of the GGUF, in hex."""
    proofs: tuple[Proof, ...]
    template: str | None = None
    """None leaves the choice to Ollama: the GGUF's own template."""
    system: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    license: Sequence[str] = ()
    messages: Sequence[Mapping[str, str]] = ()
    """Turns that stand before every conversation (MESSAGE in a Modelfile)."""
    strict: bool = True
    """Another rendering than the training prompt's is a failure; False (own chat template kept): only a finding."""
    must_stop: bool = True
    """An answer that doesn't end by itself within `answer_tokens` is a failure."""
    answer_tokens: int = ANSWER_TOKENS
    greedy: Sequence[Greedy] = ()
    """What the weights are known by where a server keeps them in a form of its own (see `greedy.py`)."""
    backup: bool = True
    """Back up the model that had the name before; one that nobody else could make is backed up all the same."""
    keep_backups: int = 1
    """How many backups stay when all is done, newest first."""
    known: Collection[str] = ()
    """Digests that run records hold: what else is found was made elsewhere, and is never deleted, …"""
    forget_all: bool = False
    """… unless the user said that no backup is to stay."""
    stagings: Collection[str] = ()
    """Staging tags of earlier publications of ours, which take disk."""

    @property
    def wanted(self) -> str:
        """sha256 (hex) of everything that makes the model what it is."""
        content: list[Any] = [self.digest, self.template, self.system, sorted(self.parameters.items())]
        if self.license or self.messages:
            content += [list(self.license), [dict(message) for message in self.messages]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def staging(self) -> str:
        """The tag under which it is made and proven; two programs that want different models have different ones."""
        return parsed(self.name).with_tag(f"staging-{self.wanted[:8]}")


@dataclass(frozen=True)
class Published:
    """What stands there now: the manifest's digest and the weights' (both hex), the backup that stayed."""

    name: str
    digest: str
    gguf: str | None
    backup: str | None
    findings: tuple[Finding, ...]


def _nothing(*_: Any, **__: Any) -> None:
    return None


def publish(
    client: OllamaClient,
    publication: Publication,
    *,
    done: Mapping[str, Mapping[str, Any]] | None = None,
    mark: Mark = _nothing,
    report: Report = report_nothing,
) -> Published:
    """Publish, or go on where an earlier call with the same publication was cut off.

    `done` is the journal: the steps (staging, staged, proven, backed_up, swapped, cleaned) that `mark` was called with,
    and their facts; that of another publication counts for nothing. Raises ProofFailed when the staged model proves
    wrong (it is deleted), UsageError for an illegal name, OllamaError where another program takes the name or the
    staging tag away again, UserErrors of the client.
    """
    wanted = publication.wanted
    journal = dict(done or {})
    if journal.get("staging", {}).get("wanted") != wanted:
        journal = {}
    swapped = journal.get("swapped")
    if not swapped or swapped["digest"] != client.digest(publication.name):
        if not journal:
            mark("staging", wanted=wanted, tag=publication.staging)
        staged = _stage(client, publication, journal.get("staged"), mark, report)
        staged, findings = _proven(client, publication, staged, journal.get("proven"), mark, report)
        backup = _swap(client, publication, staged["digest"], journal.get("backed_up"), mark)
        swapped = {**staged, "backup": backup, "findings": findings}
        mark("swapped", **swapped)
    notes = _clean(client, publication)
    mark("cleaned")
    backup = swapped["backup"] if swapped["backup"] and client.exists(swapped["backup"]) else None
    found = tuple(Finding(**finding) for finding in swapped["findings"])
    return Published(publication.name, swapped["digest"], swapped["gguf"], backup, found + notes)


def _stage(
    client: OllamaClient, publication: Publication, facts: Mapping[str, Any] | None, mark: Mark, report: Report
) -> dict[str, Any]:
    """Upload and create under the staging tag; the manifest's digest and the weights'."""
    p, staging = publication, publication.staging
    if facts and facts["digest"] == client.digest(staging):
        return {"digest": facts["digest"], "gguf": facts["gguf"]}
    client.create_from_file(
        staging,
        p.gguf,
        p.digest,
        progress=lambda sent, total: report("upload", sent, total),
        template=p.template,
        system=p.system,
        parameters=p.parameters,
        license=p.license,
        messages=p.messages,
        status=lambda _, made, total: report("create", made, total),
    )
    staged = {"digest": client.digest(staging), "gguf": client.stored_gguf(staging)}
    mark("staged", **staged)
    return staged


def _proven(
    client: OllamaClient,
    publication: Publication,
    staged: dict[str, Any],
    facts: Mapping[str, Any] | None,
    mark: Mark,
    report: Report,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The staged model's digests and the findings of its proof, as JSON values; deletes it and raises where that fails.

    Later Ollamas convert some models when they first load them. What has other digests then is proven once more, and
    its weights by what it says.
    """
    if facts and facts["digest"] == staged["digest"]:
        return staged, list(facts["findings"])
    with contextlib.suppress(Refused):  # an old model that is missing or broken is none of our business
        client.unload(publication.name)
    converted = False
    try:
        for _ in range(_ATTEMPTS):
            findings = prove(
                client,
                publication.staging,
                publication.proofs,
                strict=publication.strict,
                must_stop=publication.must_stop,
                answer_tokens=publication.answer_tokens,
                greedy=publication.greedy if converted else (),
                report=report,
            )
            digest = client.digest(publication.staging)
            if digest in (None, staged["digest"]) or not publication.greedy:
                break
            staged, converted = {"digest": digest, "gguf": client.stored_gguf(publication.staging)}, True
    except (ProofFailed, Refused):
        client.delete(publication.staging, missing_ok=True)
        raise
    if converted:
        if not is_held(findings, publication.greedy):
            raise OllamaError("error.publish.staging_changed", name=publication.name, staging=publication.staging)
        mark("staged", **staged)
    found = [asdict(finding) for finding in findings]
    mark("proven", digest=staged["digest"], findings=found)
    return staged, found


def _swap(
    client: OllamaClient, publication: Publication, staged: str, facts: Mapping[str, Any] | None, mark: Mark
) -> str | None:
    """Back up what stands and put the staged model in its place; the backup's tag, None where there was none to make.

    Both are looked at again right before: another program may publish here at the same time.
    """
    name, staging = publication.name, publication.staging
    backup = facts["tag"] if facts else None
    for _ in range(_ATTEMPTS):
        current = client.digest(name)
        if current == staged:
            return backup
        if current is not None and (publication.backup or current not in publication.known):
            backup = back_up(client, name, current)
            mark("backed_up", tag=backup, digest=current)
        if client.digest(staging) != staged:
            raise OllamaError("error.publish.staging_changed", name=name, staging=staging)
        if client.digest(name) == current:
            client.copy(staging, name)
            if client.digest(name) == staged:
                return backup
            break
    raise OllamaError("error.publish.not_swapped", name=name, staging=staging)


def _clean(client: OllamaClient, publication: Publication) -> tuple[Finding, ...]:
    """Delete stagings and backups that nobody needs, as far as Ollama lets us; what that came to, as notes."""
    notes: list[Finding] = []
    deleted: list[str] = []

    def delete(tag: str) -> bool:
        with contextlib.suppress(Refused):
            return client.delete(tag, missing_ok=True)
        # what it can't do at one moment it may at the next
        try:
            return client.delete(tag, missing_ok=True)
        except Refused as error:
            notes.append(Finding("note.publish.not_deleted", {"name": tag, "reason": error.values["message"]}, False))
            return False

    for tag in dict.fromkeys((publication.staging, *publication.stagings)):
        delete(tag)
    backups = backups_of(client, publication.name)
    doomed, kept = superfluous(backups, publication.keep_backups, publication.known, everything=publication.forget_all)
    for backup in doomed:
        if delete(backup.name):
            deleted.append(backup.name)
    if deleted and publication.keep_backups == 0:
        notes.append(Finding("note.publish.backups_deleted", {"names": ", ".join(deleted)}, False))
    if kept and publication.keep_backups == 0:
        names = ", ".join(backup.name for backup in kept)
        notes.append(Finding("note.publish.backups_kept", {"names": names}, False))
    return tuple(notes)
