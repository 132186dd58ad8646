"""A stored model as the server sees it: its layers read, its capabilities, and which template renders."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from .gguf_file import Gguf, read_gguf
from .go_template import GoRenderer
from .names import Name
from .store import MEDIA, Manifest, Store

DEFAULT_TEMPLATE = "{{ .Prompt }}"


@lru_cache(maxsize=64)
def gguf_of(path: Path) -> Gguf:
    """A blob's header; blobs never change under their digest."""
    return read_gguf(path)


@dataclass
class Model:
    name: Name
    manifest: Manifest
    config: dict[str, Any]
    weights: Path | None = None
    parent: str = ""
    template: str = DEFAULT_TEMPLATE
    has_go_template: bool = False
    system: str = ""
    adapters: list[Path] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    license: list[str] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)
    thinking_tags: list[str] = field(default_factory=list)

    @property
    def gguf(self) -> Gguf:
        if self.weights is None:
            raise FileNotFoundError("no model layer")
        return gguf_of(self.weights)

    @property
    def jinja(self) -> str:
        return self.gguf.chat_template if self.weights else ""

    @property
    def uses_go_template(self) -> bool:
        """Whether Ollama renders itself (TEMPLATE) or leaves it to llama.cpp (the GGUF's Jinja)."""
        if self.config.get("renderer") or self.config.get("parser"):
            return True
        if not self.has_go_template:
            return False
        # Unset means: the better of the two. Go's ParseBool; what it can't read is unset.
        forced = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}.get(
            os.environ.get("OLLAMA_GO_TEMPLATE", "").lower()
        )
        return forced if forced is not None else not self._prefers_jinja

    @property
    def _prefers_jinja(self) -> bool:
        """Jinja wins with more of {tools, thinking}, or with the same and the better way back of a tool's answer."""
        jinja = jinja_capabilities(self.jinja)
        go = self._go_capabilities
        if len(jinja) > len(go):
            return not self._go_has_tool_round_trip or jinja_has_tool_round_trip(self.jinja)
        if set(jinja) != set(go) or "tools" not in jinja:
            return False
        return jinja_has_tool_round_trip(self.jinja) and not self._go_has_tool_round_trip

    @property
    def _go_capabilities(self) -> list[str]:
        found = [name for word, name in (("tools", "tools"), ("suffix", "insert")) if word in self.variables]
        return [*found, "thinking"] if self.thinking_tags else found

    @property
    def _go_has_tool_round_trip(self) -> bool:
        marks = ('eq .Role "tool"', "tool_response", "TOOL_RESULTS")
        return {"tools", "toolcalls"} <= set(self.variables) and any(mark in self.template for mark in marks)

    @property
    def capabilities(self) -> list[str]:
        found = list(self.config.get("capabilities") or [])
        if self.weights:
            if not self.uses_go_template:
                found += jinja_capabilities(self.jinja)
            pooling = f"{self.gguf.architecture}.pooling_type" in self.gguf.values
            found.append("embedding" if pooling else "completion")
        if not self.has_go_template or self.uses_go_template:
            found += self._go_capabilities
        return list(dict.fromkeys(found))

    @property
    def details(self) -> dict[str, Any]:
        return {
            "parent_model": self.parent,
            "format": self.config.get("model_format", ""),
            "family": self.config.get("model_family", ""),
            "families": self.config.get("model_families"),
            "parameter_size": self.config.get("model_type", ""),
            "quantization_level": self.config.get("file_type", ""),
        }


def jinja_capabilities(jinja: str) -> list[str]:
    found = ["tools"] if "tools" in jinja or "tool_call" in jinja else []
    splits = "content.split('</think>')" in jinja or 'content.split("</think>")' in jinja
    strips = splits and "reasoning_content" not in jinja and "<SPECIAL_12>" not in jinja
    return [*found, "thinking"] if strips or ("<think>" in jinja and "</think>" in jinja) else found


def jinja_has_tool_round_trip(jinja: str) -> bool:
    roles = [f"role{end} == {quote}tool{quote}" for end in ("']", '"]') for quote in "'\""]
    roles += [f"message.role == {quote}tool{quote}" for quote in "'\""]
    answers = ("tool_response", "tool_results", "ipython", *roles)
    calls = "tool_calls" in jinja or "assistant_tool_call" in jinja
    return calls and any(answer in jinja for answer in answers)


def load_model(store: Store, name: Name, go: GoRenderer) -> Model:
    """Raises FileNotFoundError when the name or one of its blobs is missing."""
    manifest = store.manifest(name)
    config = json.loads(_blob_text(store, manifest.config.digest))
    model = Model(name, manifest, config)
    for layer in manifest.layers:
        match layer.media_type.removeprefix(MEDIA):
            case "model":
                model.weights, model.parent = _blob(store, layer.digest), layer.source
            case "adapter":
                model.adapters.append(_blob(store, layer.digest))
            case "template":
                model.template, model.has_go_template = _blob_text(store, layer.digest), True
            case "system":
                model.system = _blob_text(store, layer.digest)
            case "params":
                model.options = json.loads(_blob_text(store, layer.digest))
            case "messages":
                model.messages = json.loads(_blob_text(store, layer.digest))
            case "license":
                model.license.append(_blob_text(store, layer.digest))
    model.variables = go.variables(model.template)
    model.thinking_tags = go.thinking_tags(model.template)
    return model


def _blob(store: Store, digest: str) -> Path:
    path = store.blob_path(digest)
    if not path.exists():
        raise FileNotFoundError(path)
    return path


def _blob_text(store: Store, digest: str) -> str:
    # Bytes first: a text layer keeps its line endings.
    return _blob(store, digest).read_bytes().decode("utf-8")
