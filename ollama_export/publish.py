"""Put a model under its name in Ollama: stage, prove, back up, swap, clean.

Until the swap, one copy of a manifest, the old model answers under the name. Every step can be cut off at any moment
and the whole be called again: what is done is known by the journal and by the digests that the server tells.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from lora_trainer.errors import OllamaError
from ollama_export.proof import Finding, Proof, ProofFailed, Report, prove, report_nothing
from ollama_export.server.client import OllamaClient
from ollama_export.server.names import ModelName, check_name, parse_name
from ollama_export.server.transport import Refused

Mark = Callable[..., None]
"""mark(step, **facts): writes a step with its facts (JSON values) into the run's journal."""

_BACKUP = r"backup-(\d{8})-(\d+)"
_STAGING = r"staging-(?:[0-9]+|[0-9a-f]{8})"


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
    quantize: str | None = None
    """A type that Ollama makes of the GGUF (f16 or f32), e.g. q4_K_M."""
    label: str = ""
    """Makes the staging tag this run's own, e.g. its number. Default: the beginning of the digest."""
    strict: bool = True
    """Another rendering than the training prompt's is a failure; False (own chat template kept): only a finding."""
    must_stop: bool = True
    """An answer that doesn't end by itself within `answer_tokens` is a failure."""
    answer_tokens: int = 512
    backup: bool = True
    """Back up the model that had the name before."""
    keep_backups: int = 1
    """How many backups stay when all is done, newest first; 0 deletes the old model with its backup."""


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

    `done` is the journal: the steps (staged, proven, backed_up, swapped, cleaned) that `mark` was called with, and
    their facts. Raises ProofFailed when the staged model proves wrong (it is deleted), UserErrors of the client.
    """
    done = done or {}
    name = _parsed(publication.name)
    staging = name.with_tag("staging-" + (publication.label or publication.digest[:8]))
    swapped = done.get("swapped")
    if not swapped or swapped["digest"] != client.digest(publication.name):
        staged = _stage(client, publication, staging, done.get("staged"), mark, report)
        findings = _proven(client, publication, staging, staged["digest"], done.get("proven"), mark, report)
        backup = _back_up(client, publication, name, staged["digest"], done.get("backed_up"), mark)
        if client.digest(publication.name) != staged["digest"]:
            client.copy(staging, publication.name)
        if client.digest(publication.name) != staged["digest"]:
            raise OllamaError("error.publish.not_swapped", name=publication.name, staging=staging)
        swapped = {**staged, "backup": backup, "findings": findings}
        mark("swapped", **swapped)
    # Stagings of earlier runs that nobody went on with take disk, too.
    for _, tag in _beside(client, name, _STAGING):
        client.delete(tag, missing_ok=True)
    for _, tag in _beside(client, name, _BACKUP)[max(0, publication.keep_backups) :]:
        client.delete(tag, missing_ok=True)
    mark("cleaned")
    backup = swapped["backup"] if swapped["backup"] and client.exists(swapped["backup"]) else None
    found = tuple(Finding(**finding) for finding in swapped["findings"])
    return Published(publication.name, swapped["digest"], swapped["gguf"], backup, found)


def rollback(client: OllamaClient, name: str) -> str:
    """Put the newest backup that is another model than the present one back under the name, and return its own name.

    The backup stays. Raises OllamaError("error.publish.no_backup").
    """
    current = client.digest(name)
    for digest, tag in _beside(client, _parsed(name), _BACKUP):
        if digest != current:
            client.copy(tag, name)
            client.unload(name)
            return tag
    raise OllamaError("error.publish.no_backup", name=name)


def _stage(
    client: OllamaClient,
    publication: Publication,
    staging: str,
    facts: Mapping[str, Any] | None,
    mark: Mark,
    report: Report,
) -> dict[str, Any]:
    """Upload and create under the staging tag; the manifest's digest and the weights'."""
    p = publication
    content = [p.digest, p.template, p.system, sorted(p.parameters.items()), p.quantize]
    wanted = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    if facts and facts["wanted"] == wanted and facts["digest"] == client.digest(staging):
        return {"digest": facts["digest"], "gguf": facts["gguf"]}
    client.create_from_file(
        staging,
        p.gguf,
        p.digest,
        progress=lambda sent, total: report("upload", sent, total),
        template=p.template,
        system=p.system,
        parameters=p.parameters,
        quantize=p.quantize,
        status=lambda _, made, total: report("create", made, total),
    )
    staged = {"digest": client.digest(staging), "gguf": client.stored_gguf(staging)}
    mark("staged", wanted=wanted, tag=staging, **staged)
    return staged


def _proven(
    client: OllamaClient,
    publication: Publication,
    staging: str,
    digest: str,
    facts: Mapping[str, Any] | None,
    mark: Mark,
    report: Report,
) -> list[dict[str, Any]]:
    """The findings of the staged model's proof, as JSON values; deletes it and raises where it fails."""
    if facts and facts["digest"] == digest:
        return list(facts["findings"])
    with contextlib.suppress(Refused):  # an old model that is missing or broken is none of our business
        client.unload(publication.name)
    try:
        findings = prove(
            client,
            staging,
            publication.proofs,
            strict=publication.strict,
            must_stop=publication.must_stop,
            answer_tokens=publication.answer_tokens,
            report=report,
        )
    except (ProofFailed, Refused):
        client.delete(staging, missing_ok=True)
        raise
    found = [asdict(finding) for finding in findings]
    mark("proven", digest=digest, findings=found)
    return found


def _back_up(
    client: OllamaClient,
    publication: Publication,
    name: ModelName,
    staged: str,
    facts: Mapping[str, Any] | None,
    mark: Mark,
) -> str | None:
    """Copy the model that has the name to a backup tag, once; the tag, or None where there is nothing to back up."""
    current = client.digest(publication.name)
    if current in (None, staged):  # the second: swapped before we were cut off
        return facts["tag"] if facts else None
    if not publication.backup:
        return None
    backups = _beside(client, name, _BACKUP)
    if backups and backups[0][0] == current:
        return backups[0][1]
    taken = [(int(m[1]), int(m[2])) for _, tag in backups if (m := re.search(_BACKUP, tag, re.IGNORECASE))]
    today = int(date.today().strftime("%Y%m%d"))
    day, number = max([(today, 0), *taken])  # also where a clock was set back: the newest sorts first
    tag = name.with_tag(f"backup-{day:08d}-{number + 1}")
    client.copy(publication.name, tag)
    mark("backed_up", tag=tag, digest=current)
    return tag


def _beside(client: OllamaClient, name: ModelName, pattern: str) -> list[tuple[str, str]]:
    """Digests and names of the tags of ours beside a name, backups newest first."""
    found = []
    own = "" if name.tag == "latest" else f"{name.tag}-"
    for model in client.tags():
        other = parse_name(model["name"])
        if other is None or _model(other) != _model(name):
            continue
        match = re.fullmatch(re.escape(own) + pattern, other.tag, re.IGNORECASE)
        if match:
            found.append((tuple(map(int, match.groups())), model["digest"], str(other)))
    return [(digest, tag) for _, digest, tag in sorted(found, reverse=True)]


def _model(name: ModelName) -> str:
    return f"{name.host}/{name.namespace}/{name.model}".lower()


def _parsed(name: str) -> ModelName:
    parsed = parse_name(check_name(name))
    assert parsed is not None
    return parsed
