"""What stands in Ollama already: is it there, is it still what was published, and the way back."""

from __future__ import annotations

from lora_trainer.errors import OllamaError, UsageError
from lora_trainer.events import Listener, Note, Progress
from ollama_export.proof import verify
from ollama_export.publish import rollback
from ollama_export.server.client import OllamaClient
from ollama_export.server.start import ensure_running
from pipeline.checks.proofs import proofs_of
from pipeline.run.history import History, Run, now
from pipeline.run.standing import standing_run


def connect() -> OllamaClient:
    """The Ollama that OLLAMA_HOST names; nobody is asked yet."""
    return OllamaClient()


def tell_start(command: str, listener: Listener) -> None:
    """Say that a stopped Ollama is being started, and how."""
    listener(Note("note.starting_ollama", {"command": command}))


def is_in_ollama(client: OllamaClient, name: str, listener: Listener, *, start: bool) -> bool:
    """Whether Ollama has the model; a stopped Ollama is started for it where `start` allows.

    False where it can't be reached: the preflight says so, after the data have been looked at.
    """
    try:
        if start:
            ensure_running(client, starting=lambda command: tell_start(command, listener))
        return client.exists(name)
    except OllamaError:
        return False


def roll_back(history: History, name: str) -> str:
    """Put the newest backup back under the name; its tag. The run that made the model before is marked so."""
    tag = rollback(OllamaClient(), name)
    run = standing_run(history, name)
    if run is not None and run.is_published:
        run.update(rolled_back=now())
    return tag


def verify_published(history: History, name: str, listener: Listener) -> Run:
    """Prove the model in Ollama against its run record again.

    Raises OllamaError where it isn't what was published, or this Ollama serves it otherwise; each finding is a Note.
    """
    run = standing_run(history, name)
    if run is None or not run.is_published:
        raise UsageError("error.nothing_to_verify", name=name)
    findings = verify(
        OllamaClient(),
        name,
        proofs_of(run),
        digest=run.record["ollama"]["digest"],
        strict=not run.record["keep_chat_template"],
        must_stop=run.record["ollama"]["stops"],
        report=lambda task, done, total: listener(Progress(task, done, total)),
    )
    for finding in findings:
        listener(Note(finding.key, finding.values))
    fatal = [finding.key for finding in findings if finding.fatal]
    if fatal:
        raise OllamaError("error.verify_failed", name=name, count=len(fatal), number=run.number)
    return run
