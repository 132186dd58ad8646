"""What stands in Ollama already: is it there, is it still what was published, and the way back."""

from __future__ import annotations

from contextlib import suppress

from lora_trainer.chat_format import ChatFormat
from lora_trainer.errors import OllamaError, UsageError
from lora_trainer.events import Listener, Note, Progress
from ollama_export.backups import RolledBack, backups_of, rollback
from ollama_export.proof import verify
from ollama_export.server.client import OllamaClient
from ollama_export.server.names import parse_name
from ollama_export.server.start import ensure_running
from ollama_export.template import ollama_template
from pipeline.checks.proofs import proofs_of
from pipeline.run.history import History, Run, now
from pipeline.run.standing import last_published, look
from pipeline.serving import SAMPLING_DEFAULTS, serving_in_ollama, serving_of


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


def roll_back(history: History, name: str, number: int | None = None) -> RolledBack | None:
    """Put the next older backup back under the name, or the one of run `number`; None where that run has none.

    What stands is backed up first. Raises UsageError for a run that isn't there, OllamaError where there is no backup.
    """
    client, digests = OllamaClient(), None
    if number is not None:
        run = next((run for run in history.runs(name) if run.number == number), None)
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


def _differing(client: OllamaClient, name: str, run: Run) -> list[str]:
    """The parts in which a model in Ollama isn't what the run published, in the words of a Modelfile."""
    shown, serving = client.show(name), serving_of(run.record)
    there, _ = serving_in_ollama(shown)
    chat_format = ChatFormat.from_json(run.record["chat_format"])
    weights = client.stored_gguf(name)
    wanted = serving.all_parameters(chat_format.end_of_turn)
    # what an older version has not written is nobody's change
    usual = {parameter for parameter in SAMPLING_DEFAULTS if parameter not in serving.parameters}
    parameters = {parameter: there.parameters.get(parameter) for parameter in {*wanted, *there.parameters}}
    found = {
        "FROM": weights is not None and weights not in run.weights,
        "TEMPLATE": not serving.keep_chat_template and shown.get("template") != ollama_template(chat_format),
        "SYSTEM": (shown.get("system") or "") != (run.record["system"] or ""),
        "PARAMETER": any(
            value != wanted.get(parameter) and not (parameter in usual and value is None)
            for parameter, value in parameters.items()
        ),
        "LICENSE": there.license != serving.license,
        "MESSAGE": there.messages != serving.messages,
    }
    return [word for word, differs in found.items() if differs]


def verify_published(history: History, name: str, listener: Listener) -> tuple[Run, bool]:
    """Prove the model in Ollama against the record of the run that stands there again.

    Raises UsageError where no run of that name was published, OllamaError where what stands isn't what a run published,
    or this Ollama serves it otherwise; each finding is a Note. The second value: whether its answer ends by itself.
    """
    client = OllamaClient()
    run = look(history, name, client).run or last_published(history, name)
    if run is None or not run.is_published:
        raise UsageError("error.nothing_to_verify", name=name)
    serving = serving_of(run.record)
    current = client.digest(name)
    known = run.publications[-1]["digest"]
    findings = verify(
        client,
        name,
        proofs_of(run, serving.messages),
        digest=current if current in run.digests else known,
        differing=lambda: _differing(client, name, run),
        strict=not serving.keep_chat_template,
        must_stop=run.record["ollama"]["stops"],
        report=lambda task, done, total: listener(Progress(task, done, total)),
    )
    for finding in findings:
        listener(Note(finding.key, finding.values))
    fatal = [finding.key for finding in findings if finding.fatal]
    if fatal:
        raise OllamaError("error.verify_failed", name=name, count=len(fatal), number=run.number)
    return run, all(not finding.is_endless for finding in findings)
