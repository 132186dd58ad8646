"""Who can draft: the chat models in Ollama, and in the built-in llama.cpp the base models of the user's characters."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_trainer.errors import OllamaError, UsageError
from lora_trainer.events import Listener
from ollama_export.server.names import is_ours, same_name
from ollama_export.server.transport import Refused
from pipeline.chat import InLlamaCpp, InOllama, Talker
from pipeline.checks.resources import written_bytes
from pipeline.run.history import History, Run
from pipeline.run.published import OllamaClient, connect, wake
from pipeline.serving import serving_of


@dataclass(frozen=True)
class Drafter:
    """A model that can be asked for drafts."""

    name: str
    """As for `--draft_by`: the name in Ollama, or where the base model was found."""
    parameters: str = ""
    """As Ollama says it, "3.2B"; empty where it doesn't."""
    is_remote: bool = False
    """It runs in Ollama's cloud, so that what it is asked leaves this machine."""
    run: Run | None = None
    """The training whose base model it is; None: it is asked in Ollama."""
    written: float = 0.0
    """Bytes of the file that has to be written for llama.cpp, about; it goes with the last draft."""

    @property
    def title(self) -> str:
        """The name as it is told: of a place on this machine its last part."""
        path = Path(self.name)
        return path.name if path.is_absolute() else self.name


def find_drafters(history: History, listener: Listener) -> tuple[list[Drafter], OllamaClient]:
    """Everybody who can draft, those in Ollama first; a stopped Ollama is started.

    Raises UsageError where there is nobody, and OllamaError where something else than Ollama answers, or not as it
    should.
    """
    client = connect()
    wake(client, listener)
    try:
        found = list(_in_ollama(client))
    except OllamaError as error:
        if error.key != "error.ollama.unreachable":
            raise
        found = []
    found += _bases(history)
    if not found:
        raise UsageError("error.draft.nobody", host=client.host)
    return found, client


def named(drafters: Sequence[Drafter], name: str) -> Drafter:
    """The one that `--draft_by` means. Raises UsageError where there is none of that name."""
    for drafter in drafters:
        if drafter.name == name or (drafter.run is None and same_name(drafter.name, name)):
            return drafter
    names = ", ".join(drafter.name for drafter in drafters)
    raise UsageError("error.draft.unknown", name=name, names=names)


@contextmanager
def talking(drafter: Drafter, client: OllamaClient, listener: Listener) -> Iterator[Talker]:
    """The model, ready to be asked; what was written for it goes at the end.

    Raises what finding a base model and writing its file do.
    """
    if drafter.run is None:
        with closing(InOllama(client, drafter.name, think=False)) as talker:
            yield talker
        return
    from pipeline.outcome.comparison.respondents import TEMPORARY, of_base

    # a name of its own: a comparison may be at work in the same folder
    out = drafter.run.folder / f"draft-{os.getpid()}-{TEMPORARY}"
    try:
        find = of_base(drafter.run, client, None, listener, out=out).find
        assert find is not None
        with closing(InLlamaCpp(find(), drafter.run)) as talker:
            yield talker
    finally:
        for made in out.parent.glob(f"{out.name}*"):
            made.unlink(missing_ok=True)


def _in_ollama(client: OllamaClient) -> Iterator[Drafter]:
    """Its models but for our own tags and those that only embed. Raises OllamaError."""
    for model in client.tags():
        name = model["name"].removesuffix(":latest")
        if not is_ours(name) and _chats(client, model):
            details = model.get("details") or {}
            yield Drafter(name, str(details.get("parameter_size") or ""), bool(model.get("remote_model")))


def _chats(client: OllamaClient, model: dict[str, Any]) -> bool:
    """Whether a model answers, as far as Ollama tells it (since 0.6.4)."""
    told = model.get("capabilities")
    if told is None:
        try:
            told = client.show(model["name"]).get("capabilities")
        except Refused:  # gone meanwhile, or broken
            return False
    return not told or "completion" in told


def _bases(history: History) -> Iterator[Drafter]:
    """Each base model once, by the newest training of the first character that has it."""
    from ollama_export.llama_cpp.engine import is_installed

    known = set()
    for name in history.names() if is_installed() else ():
        trained = [run for run in history.readable(name) if run.has_done("train") and run.record.get("chat_format")]
        for run in trained[-1:]:
            base = run.record["base"]
            if (base["source"], base["revision"]) not in known:
                known.add((base["source"], base["revision"]))
                yield Drafter(str(base["source"]), run=run, written=_written(run))


def _written(run: Run) -> float:
    base = run.record["base"]
    if base.get("kind") == "gguf":
        return 0.0
    return written_bytes(base.get("parameters") or 0, serving_of(run.record).quantize)
