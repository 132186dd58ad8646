"""Serving: what of a model can be changed without training it, and belongs to it until somebody does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lora_trainer.events import Listener, Note
from pipeline.request import Request

if TYPE_CHECKING:
    from lora_trainer.models.source import BaseModel

DEFAULT_QUANTIZE = "q8_0"
SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "num_ctx")
"""Ollama's parameters that have a flag of their own."""
SAMPLING_DEFAULTS: Mapping[str, Any] = {
    "temperature": 0.7, "top_p": 0.9, "top_k": 40, "min_p": 0.0, "repeat_penalty": 1.0,
}  # fmt: skip
"""Written at every publish where nobody says otherwise, so that a model answers alike on every Ollama: their own
defaults differ. A penalty on repetition above 1 punishes the manner that was taught (docs/ollama.md has the numbers).
"""
USUAL_CONTEXT = 4096
"""Tokens that Ollama keeps of a conversation where a model doesn't say (envconfig's OLLAMA_CONTEXT_LENGTH)."""
ANSWER_ROOM = 512
"""Tokens that an answer to the longest prompt is to have room for."""
_FLOATS = {
    "temperature",
    "top_p",
    "min_p",
    "typical_p",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
}
"""Ollama's parameters that are no whole numbers (api/types.go); it writes 1 for 1.0."""


@dataclass(frozen=True)
class Serving:
    """How a model is served. Every field is kept from run to run until a flag or an answer says otherwise."""

    quantize: str = DEFAULT_QUANTIZE
    """The GGUF's file type."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Ollama's parameters; under `stop` only texts beside the end of turn, which always stops."""
    keep_chat_template: bool = False
    """The GGUF keeps the base model's own chat template."""
    license: tuple[str, ...] = ()
    messages: tuple[Mapping[str, str], ...] = ()
    """Turns that stand before every conversation (MESSAGE in a Modelfile)."""
    served_system: str | None = None
    """The system prompt in the model where that isn't the one it was trained with; "" is none at all."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where each of them came from: default, record, ollama or flag. Parameters are named one by one."""

    def to_record(self) -> dict[str, Any]:
        """The fields of a run record that say it."""
        return {
            "quantize": self.quantize,
            "parameters": dict(self.parameters),
            "keep_chat_template": self.keep_chat_template,
            "license": list(self.license),
            "messages": [dict(message) for message in self.messages],
            "served_system": self.served_system,
            "serving_sources": dict(self.sources),
        }

    def changed_by(self, request: Request) -> Serving:
        """The same but for what flags say."""
        given = {name: getattr(request, name) for name in SAMPLING if getattr(request, name) is not None}
        changes: dict[str, Any] = {}
        if given:
            changes["parameters"] = {**self.parameters, **given}
        if request.quantize is not None:
            changes["quantize"] = given["quantize"] = request.quantize
        if request.keep_chat_template or request.no_keep_chat_template:
            changes["keep_chat_template"] = given["keep_chat_template"] = request.keep_chat_template
        if request.system is not None or request.no_system:
            # a training teaches the prompt that it is given
            changes["served_system"] = (request.system or "") if request.register_only else None
        return replace(self, **changes, sources={**self.sources, **dict.fromkeys(given, "flag")})

    def system_of(self, trained: str | None) -> str | None:
        """The system prompt in the model, where `trained` is the one that it was trained with."""
        return trained if self.served_system is None else self.served_system or None

    def all_parameters(self, ends: Sequence[str]) -> dict[str, Any]:
        """What is written into the model: every parameter that shapes an answer; what ends a turn always stops it."""
        others = [text for text in self.parameters.get("stop", ()) if text not in ends]
        return {**self.sampled_with, "stop": [*ends, *others]}

    @property
    def sampled_with(self) -> dict[str, Any]:
        """All parameters: the kept ones, and the defaults of the others."""
        return {**SAMPLING_DEFAULTS, **self.parameters}

    def on(self, shown: Mapping[str, Any]) -> Serving:
        """The same over the sampling parameters and licence of its base model, as `/api/show` tells them."""
        base, _ = serving_in_ollama(shown)
        sampled = {name: value for name, value in base.parameters.items() if name in SAMPLING_DEFAULTS}
        taken = [name for name in sampled if name not in self.parameters]
        sources = {**dict.fromkeys(taken, "base"), **self.sources}
        return replace(self, parameters={**sampled, **self.parameters}, sources=sources).licensed(base.license)

    def licensed(self, texts: tuple[str, ...]) -> Serving:
        """The same with the licence of its base model, where it has none of its own."""
        if self.license or not texts:
            return self
        return replace(self, license=texts, sources={**self.sources, "license": "base"})

    def with_room(self, tokens: int) -> Serving:
        """The same with a context that holds a conversation of so many tokens and its answer."""
        needed = tokens + ANSWER_ROOM
        if "num_ctx" in self.parameters or needed <= USUAL_CONTEXT:
            return self
        parameters = {**self.parameters, "num_ctx": -(-needed // 1024) * 1024}
        return replace(self, parameters=parameters, sources={**self.sources, "num_ctx": "data"})

    def is_served_like(self, other: Serving) -> bool:
        """Whether both make the same model of the same training, wherever their values came from."""
        return replace(self, sources={}) == replace(other, sources={})


def fitted(serving: Serving, base: BaseModel, tokens: int, listener: Listener) -> Serving:
    """The serving with what base model and dialogues add to it: a licence, room for the longest of so many `tokens`."""
    from lora_trainer.models.folder import license_text

    if base.kind == "folder" and (text := license_text(base.path)):
        serving = serving.licensed((text,))
    roomy = serving.with_room(tokens)
    if roomy is not serving:
        listener(Note("note.num_ctx", {"tokens": tokens, "num_ctx": roomy.parameters["num_ctx"]}))
    if (penalty := roomy.sampled_with["repeat_penalty"]) > 1.0:
        listener(Note("note.repeat_penalty", {"value": penalty}))
    return roomy


def serving_of(record: Mapping[str, Any], source: str | None = None) -> Serving:
    """What a run record says; `source` replaces where each of it came from."""
    sources = dict(record.get("serving_sources", {}))
    serving = Serving(
        quantize=record["quantize"],
        parameters=dict(record["parameters"]),
        keep_chat_template=record["keep_chat_template"],
        license=tuple(record.get("license", ())),
        messages=tuple(record.get("messages", ())),
        served_system=record.get("served_system"),
        sources=sources,
    )
    return serving if source is None else replace(serving, sources=dict.fromkeys(_named(serving), source))


def serving_in_ollama(shown: Mapping[str, Any]) -> tuple[Serving, list[str]]:
    """What `/api/show` tells of a model that was made elsewhere, and the names of what can't be kept.

    Its weights are ours to make again, so its type is not taken over. TEMPLATE is replaced by the one that the model is
    trained with; turns that stand before every conversation are kept where user and assistant alternate in them.
    """
    parameters = _parameters(str(shown.get("parameters") or ""))
    turns = [{"role": str(m.get("role")), "content": str(m.get("content"))} for m in shown.get("messages") or []]
    lost = []
    wanted = [("user", "assistant")[number % 2] for number in range(len(turns))]
    if [turn["role"] for turn in turns] != wanted or len(turns) % 2:
        turns = []
        lost.append("MESSAGE")
    modelfile = str(shown.get("modelfile") or "")
    lost += [word for word in ("TEMPLATE", "ADAPTER") if re.search(rf"^{word} ", modelfile, re.MULTILINE)]
    license_text = shown.get("license") or ""
    texts = [license_text] if isinstance(license_text, str) else [str(text) for text in license_text]
    serving = Serving(parameters=parameters, license=tuple(filter(None, texts)), messages=tuple(turns))
    return replace(serving, sources=dict.fromkeys(_named(serving), "ollama")), lost


def _named(serving: Serving) -> list[str]:
    """The names of what is not at its default."""
    usual, fields = Serving(), ("quantize", "keep_chat_template", "license", "messages")
    return [*(name for name in fields if getattr(serving, name) != getattr(usual, name)), *serving.parameters]


def _parameters(text: str) -> dict[str, Any]:
    """Read `parameters` of `/api/show`: a name padded to 30 characters and a value in Go's syntax in each line."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        value = value.strip()
        if not name or not value:
            continue
        read = _value(name, value)
        if name == "stop":
            found.setdefault("stop", []).append(read)
        else:
            found[name] = read
    return found


def _value(name: str, value: str) -> Any:
    if value.startswith('"'):
        try:
            return json.loads(value)
        except ValueError:
            return value.strip('"')
    if value in ("true", "false"):
        return value == "true"
    try:
        number = float(value)
    except ValueError:
        return value
    return number if name in _FLOATS or not number.is_integer() else int(number)
