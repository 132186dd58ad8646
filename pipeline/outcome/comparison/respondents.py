"""Who answers in a comparison, and where each is asked: in the built-in llama.cpp, where its GGUF can be had, else in
Ollama. Nothing is loaded or written before the first question that it is asked.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_trainer.chat_format import ChatFormat
from lora_trainer.errors import BaseModelError, OllamaError, ResourceError
from lora_trainer.events import Doing, Listener, Progress
from ollama_export.llama_cpp.engine import is_installed, sampled_by
from pipeline.checks.resources import SPARE_DISK, written_bytes
from pipeline.job import library_versions
from pipeline.outcome.asked import Answer, Question, Side
from pipeline.publishing import gguf_path
from pipeline.run.base_model import recorded_base_model
from pipeline.run.history import Run
from pipeline.serving import serving_of

if TYPE_CHECKING:
    from ollama_export.server.client import OllamaClient

ANSWER_TOKENS = 256
"""An answer is cut behind so many: it is known by then whether it finds an end."""
PROMPT_TOKENS = 1024
"""Room for a question that no row brought, beside what the longest row takes."""
TEMPORARY = "to-compare.gguf"
"""A GGUF that is made to be asked and removed afterwards, beside the run's record."""


@dataclass(frozen=True)
class Sampling:
    """By what both sides are sampled."""

    parameters: Mapping[str, Any]
    """By Ollama's names."""
    seed: int
    answer_tokens: int = ANSWER_TOKENS


@dataclass(frozen=True)
class Respondent:
    """A model that can be asked: in llama.cpp, or in Ollama under the name of its `side`."""

    side: Side
    weights: str
    """What tells its weights from all others; empty where that isn't known."""
    find: Callable[[], Path] | None = None
    """Its GGUF, made where there is none; None: it is asked in Ollama. Raises UserError."""
    chat_format: ChatFormat | None = None
    system: str | None = None
    messages: tuple[Mapping[str, str], ...] = ()
    """Turns that stand before every conversation."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer beside the end of turn."""
    context: int = 2048
    """Tokens of the longest question with its answer."""

    def conversation(self, question: Question) -> list[dict[str, str]]:
        """What is asked, with all that stands before it."""
        system = self.system if question.system is None else question.system
        first = [{"role": "system", "content": system}] if system else []
        return [*first, *map(dict, self.messages), {"role": "user", "content": question.text}]

    def fingerprint(self, sampling: Sampling) -> str | None:
        """What tells by its likeness that the same question gets the same answer; None where that can't be known."""
        if self.find is None or self.chat_format is None or not self.weights:
            return None
        what = (self.weights, self.chat_format.to_json(), self.system, list(map(dict, self.messages)), self.stop)
        how = (dict(sampling.parameters), sampling.seed, sampling.answer_tokens, library_versions().get("xllamacpp"))
        said = json.dumps([what, how], ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def of_base(
    run: Run, client: OllamaClient | None, llama_cpp: Path | None, listener: Listener, *, out: Path | None = None
) -> Respondent:
    """The base model of a run, under the run's system prompt.

    A base model in a folder has no GGUF: one is written as the type that the run's has, without an adapter, which takes
    as much disk as the model itself and some seconds for each billion weights; to `out`, else beside the run's record.
    """
    base, file_type = run.record["base"], _file_type(run)
    kind = "its own" if base["kind"] == "gguf" else file_type

    def find() -> Path:
        found = recorded_base_model(base, client, listener)
        if found.kind == "gguf":
            return found.path
        return _exported(run, None, out or run.folder / f"base-{TEMPORARY}", client, llama_cpp, listener)

    side = Side("base", base["source"])
    return _taught(run, side, f"{base['revision']} {kind}", find)


def of_run(
    run: Run, client: OllamaClient | None, llama_cpp: Path | None, listener: Listener, *, beside: Path
) -> Respondent:
    """The model of a trained run: its GGUF, Ollama's file of it, itself in Ollama, or a GGUF made in `beside`."""
    record, name = run.record, run.record["name"]
    adapter = run.folder / record["training"]["adapter"]
    point = record.get("point") or {}
    side = Side("run", name, run.number, point.get("epochs", run.plan.epochs))
    made = record.get("gguf", {}).get("digest")

    def find() -> Path:
        found = stored_gguf(run, client)
        made_here = beside / f"run-{run.number}-{TEMPORARY}"
        return found or _exported(run, adapter, made_here, client, llama_cpp, listener)

    lies = is_installed() and stored_gguf(run, client) is not None
    if not lies and client is not None and _stands(run, client):
        return Respondent(side, "")
    return _taught(run, side, made or "", find)


def of_other(name: str) -> Respondent:
    """A model in Ollama that was made elsewhere: what it is asked with is known to Ollama alone."""
    return Respondent(Side("ollama", name), "")


def stored_gguf(run: Run, client: OllamaClient | None) -> Path | None:
    """The GGUF of a run where it lies: beside its record, or in the store of an Ollama on this machine."""
    own = gguf_path(run)
    if own.exists():
        return own
    digest = run.record.get("gguf", {}).get("digest")
    if client is None or digest is None:
        return None
    try:
        return client.stored_file(digest, run.record["name"])
    except (BaseModelError, OllamaError):  # not readable, or nobody there: it is asked or made in another way
        return None


def ask(
    who: Respondent,
    questions: Sequence[Question],
    sampling: Sampling,
    client: OllamaClient | None,
    listener: Listener,
    heard: Callable[[], None],
) -> list[Answer]:
    """What a model answers, in order; `heard` is called before each question and after the last one.

    The model is in memory only meanwhile. Raises ConversionError, OllamaError, BaseModelError and ResourceError.
    """
    if who.find is None:
        assert client is not None
        return _ask_in_ollama(who, questions, sampling, client, heard)
    from ollama_export.llama_cpp.engine import Engine

    assert who.chat_format is not None
    gguf, said = who.find(), []
    listener(Doing("engine"))
    with Engine(gguf, context=who.context) as engine:
        listener(Doing("answers"))
        for question in questions:
            heard()
            answer = engine.complete(
                who.chat_format.render(who.conversation(question)),
                max_tokens=sampling.answer_tokens,
                seed=sampling.seed,
                stop=(*who.chat_format.ends, *who.stop),
                **sampled_by(sampling.parameters),
            )
            said.append(Answer(who.chat_format.spoken(answer.text).strip(), answer.stopped, len(answer.tokens)))
        heard()
    return said


def _ask_in_ollama(
    who: Respondent,
    questions: Sequence[Question],
    sampling: Sampling,
    client: OllamaClient,
    heard: Callable[[], None],
) -> list[Answer]:
    name, said = who.side.name, []
    was_loaded = client.is_loaded(name)
    options = {**sampled_by(sampling.parameters), "seed": sampling.seed, "num_predict": sampling.answer_tokens}
    try:
        for question in questions:
            heard()
            first = [] if question.system is None else [{"role": "system", "content": question.system}]
            answer = client.chat(name, [*first, {"role": "user", "content": question.text}], **options)
            said.append(Answer(answer.text.strip(), answer.stopped, answer.tokens or 0))
        heard()
    finally:
        if not was_loaded:
            client.unload(name)
    return said


def _taught(run: Run, side: Side, weights: str, find: Callable[[], Path]) -> Respondent:
    """One that is asked in the way that a run was taught in."""
    serving = serving_of(run.record)
    return Respondent(
        side,
        weights,
        find,
        chat_format=ChatFormat.from_json(run.record["chat_format"]),
        system=run.record["system"],
        messages=serving.messages,
        stop=tuple(serving.parameters.get("stop", ())),
        context=max(2048, run.plan.max_length + PROMPT_TOKENS + ANSWER_TOKENS),
    )


def _file_type(run: Run) -> str:
    return str(run.record.get("gguf", {}).get("file_type") or run.record["quantize"])


def _stands(run: Run, client: OllamaClient) -> bool:
    try:
        return client.digest(run.record["name"]) in run.digests
    except OllamaError:
        return False


def _exported(
    run: Run, adapter: Path | None, out: Path, client: OllamaClient | None, llama_cpp: Path | None, listener: Listener
) -> Path:
    """A GGUF of a run's base model, with the adapter or without; raises ResourceError where there is no room for it."""
    from ollama_export.gguf.export import export_gguf

    if out.exists():  # made for an earlier question
        return out
    base, file_type = recorded_base_model(run.record["base"], client, listener), _file_type(run)
    needed, free = written_bytes(base.parameters, file_type) + SPARE_DISK, shutil.disk_usage(out.parent).free
    if free < needed:
        values = {"needed": f"{needed / 1e9:.1f} GB", "free": f"{free / 1e9:.1f} GB"}
        raise ResourceError("error.disk.too_small", path=out.parent, **values)
    chat_format = ChatFormat.from_json(run.record["chat_format"])
    export_gguf(
        base.path,
        base.kind,
        adapter,
        out,
        file_type=file_type,
        chat_template=None,
        add_bos=chat_format.tokenizer_adds_bos,
        eos_token=chat_format.end_of_turn,
        other_ends=chat_format.other_ends,
        llama_cpp=llama_cpp,
        progress=lambda done, total: listener(Progress("export", done, total)),
    )
    return out
