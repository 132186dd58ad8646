"""The models in Ollama, as base models: what can be trained on, and why the others can't."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lora_trainer.errors import BaseModelError
from ollama_export.server.names import is_ours
from pipeline.run.history import History

if TYPE_CHECKING:
    from ollama_export.server.client import OllamaClient

TRAINABLE = frozenset(
    ("bloom", "falcon", "gemma2", "gemma3", "gemma4", "gpt-oss", "gpt2", "lfm2", "llama", "mamba", "minimax-m2",
     "nemotron", "phi3", "qwen2", "qwen2moe", "qwen3", "qwen35", "qwen35moe", "qwen3moe", "stablelm", "starcoder2")
)  # fmt: skip
"""llama.cpp's names of the architectures whose GGUF files transformers reads, which it only tells once PyTorch is
loaded."""


@dataclass(frozen=True)
class OllamaBase:
    """One model in Ollama."""

    name: str
    """Without `:latest`."""
    parameters: str
    """As Ollama says it, "3.2B"; empty where it doesn't."""
    size: int
    """Bytes."""
    quantization: str
    """"Q4_K_M"; empty where Ollama doesn't say."""
    ours: bool
    """A run here made it."""
    refusal: BaseModelError | None
    """Why it can't be trained on."""

    @property
    def source(self) -> str:
        """As for --base_model."""
        return f"ollama:{self.name}"

    @property
    def can_be_trained_on(self) -> bool:
        """Is there nothing against it, as far as is known without reading its weights?"""
        return self.refusal is None


def ollama_bases(client: OllamaClient, history: History) -> list[OllamaBase]:
    """The models whose weights Ollama has, but for our own tags; raises OllamaError.

    Those that can be trained on come first, and the newest first among them and among the others.
    """
    known = history.digests()
    found = [
        OllamaBase(
            name=model["name"].removesuffix(":latest"),
            parameters=str(_details(model).get("parameter_size") or ""),
            size=int(model.get("size") or 0),
            quantization=str(_details(model).get("quantization_level") or ""),
            ours=model["digest"] in known,
            refusal=_refusal(client, model),
        )
        for model in client.tags()
        if not (is_ours(model["name"]) or model.get("remote_model"))
    ]
    return sorted(found, key=lambda base: not base.can_be_trained_on)


def _refusal(client: OllamaClient, model: dict[str, Any]) -> BaseModelError | None:
    """What resolve_base_model would say of a model, for as much as its file's name and family tell."""
    details, name = _details(model), model["name"].removesuffix(":latest")
    family = str(details.get("family") or "")
    if family and family.lower() not in TRAINABLE:
        return BaseModelError("error.base_model.gguf_architecture", architecture=family)
    try:
        client.blob_path(name)
    except BaseModelError as error:
        return error
    return None


def _details(model: dict[str, Any]) -> dict[str, Any]:
    return model.get("details") or {}
