"""What stands in Ollama already: is it there, is it still what was published, and the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from lora_trainer.errors import OllamaError, UsageError
from lora_trainer.events import Listener, Note, Progress
from ollama_export.backups import RolledBack, backups_of, rollback
from ollama_export.proof import verify
from ollama_export.server.client import OllamaClient as OllamaClient
from ollama_export.server.names import parse_name, same_name
from ollama_export.server.start import can_be_had as can_be_had
from ollama_export.server.start import ensure_running
from pipeline.checks.proofs import heard_of, proofs_of
from pipeline.run.history import History, Run, now
from pipeline.run.likeness import details_of, differing
from pipeline.run.standing import last_published, look
from pipeline.serving import serving_of


def connect() -> OllamaClient:
    """The Ollama that OLLAMA_HOST names; nobody is asked yet."""
    return OllamaClient()


def tell_start(command: str, listener: Listener) -> None:
    """Say that a stopped Ollama is being started, and how."""
    listener(Note("note.starting_ollama", {"command": command}))


def wake(client: OllamaClient, listener: Listener) -> None:
    """Start a stopped Ollama where that can be done; the preflight says so where it can't."""
    with suppress(OllamaError):
        ensure_running(client, starting=lambda command: tell_start(command, listener))


def digests_in_ollama() -> dict[str, str] | None:
    """Canonical name -> manifest's digest of all models in Ollama; None where it doesn't answer."""
    try:
        return {str(parse_name(model["name"]) or model["name"]): model["digest"] for model in OllamaClient().tags()}
    except OllamaError:
        return None


def runs_in_ollama(history: History, runs: Mapping[str, Sequence[Run]]) -> dict[str, int | None] | None:
    """Of the models (name -> runs) that Ollama has: the number of the run that stands there, None where it is no run's.

    None where Ollama doesn't answer.
    """
    there = digests_in_ollama()
    if there is None:
        return None
    client, found = OllamaClient(), {}
    for name, own in runs.items():
        digest = there.get(name) or next((other for known, other in there.items() if same_name(known, name)), None)
        if digest is not None:
            run = next((run for run in reversed(own) if digest in run.digests), None)
            found[name] = run.number if run else _in_another_form(history, name, client)
    return found


def _in_another_form(history: History, name: str, client: OllamaClient) -> int | None:
    """The run whose model it is, converted by Ollama or with words that were changed there."""
    try:
        stands = look(history, name, client)
    except UsageError:  # a later version of the program has written one of its records
        return None
    return stands.run.number if stands.in_ollama and stands.run else None


def backups_with(name: str, run: Run) -> list[str] | None:
    """The backups in Ollama that hold a run's model, newest first; None where Ollama doesn't answer."""
    try:
        return [backup.name for backup in backups_of(OllamaClient(), name) if backup.digest in run.digests]
    except OllamaError:
        return None


def roll_back(history: History, name: str, number: int | None = None) -> RolledBack | None:
    """Put the next older backup back under the name, or the one of run `number`; None where that run has none.

    What stands is backed up first. Raises UsageError for a run that isn't there, OllamaError where there is no backup.
    """
    client, digests = OllamaClient(), None
    if number is not None:
        run = history.numbered(name, number)
        if run is None:
            raise UsageError("error.no_such_run", name=name, number=number)
        digests = run.digests
        if not any(backup.digest in digests for backup in backups_of(client, name)):
            return None
    done = rollback(client, name, digests)
    run = next((run for run in reversed(history.runs(name)) if done.backup.digest in run.digests), None)
    if run is not None:
        again = next(entry for entry in run.publications if entry["digest"] == done.backup.digest)
        entry = {**again, "backup": done.kept, "finished": now(), "order": history.next_order(name)}
        run.update(publications=[*run.publications, entry])
    return done


def verify_published(history: History, name: str, listener: Listener) -> tuple[Run, bool]:
    """Prove the model in Ollama against the record of the run that stands there again.

    Raises UsageError where no run of that name was published, OllamaError where what stands isn't what a run published,
    or this Ollama serves it otherwise; each finding is a Note. The second value: whether its answer ends by itself. A
    model that proves to be the same in another form is known by its new digest from then on.
    """
    client = OllamaClient()
    run = look(history, name, client).run or last_published(history, name)
    if run is None or not run.is_published:
        raise UsageError("error.nothing_to_verify", name=name)
    serving = serving_of(run.record)
    current, known = client.digest(name), run.publications[-1]["digest"]
    shown = client.show(name) if current is not None else {}
    findings = verify(
        client,
        name,
        proofs_of(run, serving.messages, serving.served_system),
        digest=current if current in run.digests else known,
        differing=lambda: differing(client.show(name), client.stored_gguf(name), run),
        greedy=heard_of(run, details_of(shown)["quantization_level"], adapter=run.adapter_name(run.taught_point)),
        strict=not serving.keep_chat_template,
        must_stop=run.record["ollama"]["stops"],
        report=lambda task, done, total: listener(Progress(task, done, total)),
    )
    for finding in findings:
        listener(Note(finding.key, finding.values))
    fatal = [finding.key for finding in findings if finding.fatal]
    if fatal:
        raise OllamaError("error.verify_failed", name=name, count=len(fatal), number=run.number)
    if any(finding.is_other_form for finding in findings):
        stands: dict[str, Any] = {"digest": client.digest(name), "gguf": client.stored_gguf(name)}
        stands |= {"finished": now(), "order": history.next_order(name)}
        run.update(publications=[*run.publications, {**run.publications[-1], **stands}])
    return run, all(not finding.is_endless for finding in findings)
