"""Talking to a model: who answers, with what it is served, and what of a conversation it still hears."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lora_trainer.chat_format import ChatFormat, Message
from lora_trainer.errors import UsageError
from ollama_export.server.client import OllamaClient
from pipeline.outcome.asked import Answer
from pipeline.run.history import Run
from pipeline.serving import ANSWER_ROOM, SAMPLING, USUAL_CONTEXT, serving_in_ollama, serving_of

if TYPE_CHECKING:
    from ollama_export.llama_cpp.engine import Engine

Heard = Callable[[str], None]
"""Hears each piece of an answer as it comes; "" is a piece of a thought, which is no part of it."""
_OTHERS: Mapping[str, Any] = {
    "temperature": 0.8, "typical_p": 1.0, "repeat_last_n": 64, "presence_penalty": 0.0, "frequency_penalty": 0.0,
}  # fmt: skip
"""What Ollama takes where neither a model nor a request says anything (api/types.go), by llama.cpp's names."""


@dataclass(frozen=True)
class Tried:
    """What is tried out in a conversation, in place of what the model is served with."""

    system: str | None = None
    """None is the model's own; "" is none at all."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Names of SAMPLING."""

    def __bool__(self) -> bool:
        return self.system is not None or bool(self.parameters)


class Talker(Protocol):
    """Who answers. Its methods raise UserErrors; it goes on after them, and after an answer that was broken off."""

    system: str
    """The system prompt in the model; "" is none."""
    parameters: Mapping[str, Any]
    """Ollama's parameters that the model is served with, as far as they are known."""
    counts: bool
    """Whether `tokens` counts, rather than estimates."""

    def answer(self, turns: Sequence[Message], tried: Tried, seed: int, heard: Heard) -> Answer:
        """The answer to the last of the `turns` (user and assistant); whatever `heard` raises breaks it off."""

    def context(self, tried: Tried) -> int:
        """Tokens that prompt and answer have room in."""

    def tokens(self, turns: Sequence[Message], tried: Tried) -> int:
        """Tokens of the prompt that the turns make."""

    def close(self) -> None:
        """Give the memory back."""


def fitting(talker: Talker, turns: Sequence[Message], tried: Tried) -> list[Message]:
    """The turns that the model still hears: the oldest go, in pairs, until an answer has room behind the others.

    Raises UsageError where the last turn alone is too long.
    """
    kept = list(turns)
    context = talker.context(tried)
    room = context - min(ANSWER_ROOM, context // 4)
    while len(kept) > 1 and talker.tokens(kept, tried) > room:
        del kept[:2]
    # an estimate is no reason to send nothing
    if len(kept) == 1 and talker.counts and (tokens := talker.tokens(kept, tried)) >= context:
        raise UsageError("error.chat.too_long", tokens=tokens, context=context)
    return kept


def _with_system(turns: Sequence[Message], system: str) -> list[Message]:
    return [*([{"role": "system", "content": system}] if system else []), *turns]


class InOllama:
    """A model in Ollama, which renders by itself: its own system prompt is not sent."""

    counts = False

    def __init__(self, client: OllamaClient, name: str, *, think: bool | None = None) -> None:
        self._client, self._name, self._think = client, name, think
        shown = client.show(name)
        self.system = str(shown.get("system") or "")
        served = serving_in_ollama(shown)[0]
        self.parameters = served.parameters
        self._before = served.messages
        self._rate = 1.0
        """Tokens of a character: that of the last prompt that was counted."""

    def answer(self, turns: Sequence[Message], tried: Tried, seed: int, heard: Heard) -> Answer:
        """See Talker."""
        own = [] if tried.system is None else [{"role": "system", "content": tried.system}]
        asked = [*own, *turns]
        said = self._client.stream(self._name, asked, heard, think=self._think, **tried.parameters, seed=seed)
        if said.prompt_tokens:
            self._rate = said.prompt_tokens / max(1, self._characters(turns, tried))
        return Answer(said.text, said.stopped, said.tokens or 0)

    def context(self, tried: Tried) -> int:
        """See Talker."""
        known = tried.parameters.get("num_ctx") or self.parameters.get("num_ctx")
        return int(known or self._client.loaded_context(self._name) or USUAL_CONTEXT)

    def tokens(self, turns: Sequence[Message], tried: Tried) -> int:
        """See Talker."""
        return round(self._rate * self._characters(turns, tried))

    def _characters(self, turns: Sequence[Message], tried: Tried) -> int:
        system = self.system if tried.system is None else tried.system
        return len(system) + sum(len(turn["content"]) for turn in (*self._before, *turns))

    def close(self) -> None:
        """See Talker; how long Ollama keeps a model in memory is Ollama's affair."""


class _Spoken:
    """Hears what a model writes that thinks before it answers, and tells the answer alone as it comes."""

    def __init__(self, chat_format: ChatFormat, heard: Heard) -> None:
        self._format, self._heard, self._written, self._told = chat_format, heard, "", 0

    def __call__(self, piece: str) -> None:
        self._written += piece
        spoken = self._format.spoken(self._written)
        self._heard(spoken[self._told :])
        self._told = len(spoken)


class InLlamaCpp:
    """A run's GGUF in the built-in llama.cpp, prompted by the run's chat format: exactly as it was trained."""

    counts = True

    def __init__(self, gguf: Path, run: Run, *, fleeting: bool = False) -> None:
        """`fleeting`: the GGUF was made for this conversation, and goes with it."""
        from ollama_export.gguf.head import gguf_head

        self._gguf, self._fleeting = gguf, fleeting
        serving = serving_of(run.record)
        self._format = ChatFormat.from_json(run.record["chat_format"])
        self.system = serving.system_of(run.record["system"]) or ""
        self.parameters: Mapping[str, Any] = serving.all_parameters(self._format.ends)
        self._before = [dict(turn) for turn in serving.messages]
        head = gguf_head(gguf)
        self._longest = int(head.get(f"{head.get('general.architecture')}.context_length") or USUAL_CONTEXT)
        self._engine: Engine | None = None
        self._loaded = 0

    def answer(self, turns: Sequence[Message], tried: Tried, seed: int, heard: Heard) -> Answer:
        """See Talker."""
        wanted = {**_OTHERS, **self.parameters, **tried.parameters}
        sampling = {name: wanted[name] for name in (*_OTHERS, *SAMPLING) if name in wanted and name != "num_ctx"}
        said = self._loaded_for(tried).stream(
            self._prompt(turns, tried),
            _Spoken(self._format, heard) if self._format.thinks else heard,
            max_tokens=int(wanted.get("num_predict", -1)),
            seed=seed,
            stop=wanted["stop"],
            **sampling,
        )
        return Answer(self._format.spoken(said.text), said.stopped, len(said.tokens))

    def context(self, tried: Tried) -> int:
        """See Talker."""
        return min(self._longest, int({"num_ctx": USUAL_CONTEXT, **self.parameters, **tried.parameters}["num_ctx"]))

    def tokens(self, turns: Sequence[Message], tried: Tried) -> int:
        """See Talker."""
        return len(self._loaded_for(tried).tokenize(self._prompt(turns, tried), add_special=True))

    def close(self) -> None:
        """See Talker."""
        if self._engine is not None:
            self._engine.close()
        if self._fleeting:
            self._gguf.unlink(missing_ok=True)

    def _prompt(self, turns: Sequence[Message], tried: Tried) -> str:
        system = self.system if tried.system is None else tried.system
        return self._format.render(_with_system([*self._before, *turns], system))

    def _loaded_for(self, tried: Tried) -> Engine:
        from ollama_export.llama_cpp.engine import Engine

        context = self.context(tried)
        if self._engine is None or self._loaded != context:
            if self._engine is not None:
                self._engine.close()
                self._engine = None
            self._engine, self._loaded = Engine(self._gguf, context=context), context
        return self._engine


def keep_for_later(run: Run, tried: Tried) -> None:
    """Let a run's model be served with what was tried out when it is put into Ollama; nothing is published.

    The Modelfile beside a GGUF says it from now on, too.
    """
    from lora_trainer.events import ignore
    from pipeline.publishing import write_modelfile

    serving = serving_of(run.record)
    sources = {**serving.sources, **dict.fromkeys(tried.parameters, "answer")}
    serving = replace(serving, parameters={**serving.parameters, **tried.parameters}, sources=sources)
    if tried.system is not None:
        serving = replace(serving, served_system=tried.system)
    run.update(**serving.to_record())
    if (run.folder / "Modelfile").exists():
        with suppress(ValueError):
            write_modelfile(run, ChatFormat.from_json(run.record["chat_format"]), serving, ignore)
