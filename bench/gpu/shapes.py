"""Qwen2.5's shapes with random weights, made straight on the device: no file is read or written.

Sizes: the config.json of https://huggingface.co/Qwen/Qwen2.5-0.5B-Instruct and its larger siblings.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_trainer.models.source import BaseModel


@dataclass(frozen=True)
class Shape:
    """The sizes of one Qwen2 model."""

    hidden: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    vocabulary: int
    tied: bool
    """Whether the output layer is the embedding."""

    @property
    def parameters(self) -> int:
        """Weights in all tensors."""
        keys = self.hidden // self.heads * self.key_heads
        attention = 2 * self.hidden**2 + 2 * self.hidden * keys + self.hidden + 2 * keys
        layer = attention + 3 * self.hidden * self.inner + 2 * self.hidden
        return self.layers * layer + self.hidden + self.vocabulary * self.hidden * (1 if self.tied else 2)


SHAPES = {
    "tiny": Shape(64, 128, 2, 4, 2, 512, tied=True),
    "0.5b": Shape(896, 4864, 24, 14, 2, 151936, tied=True),
    "1.5b": Shape(1536, 8960, 28, 12, 2, 151936, tied=True),
    "3b": Shape(2048, 11008, 36, 16, 2, 151936, tied=True),
    "7b": Shape(3584, 18944, 28, 28, 4, 152064, tied=False),
}
"""Name -> sizes; the tiny one is for a CPU, to try the bench itself."""
SMALL = Shape(512, 1408, 4, 8, 2, 16384, tied=True)
"""What a card is checked with: heads of 64 as in the 0.5B, and an output layer that goes by in several chunks."""


def configuration(shape: Shape) -> Any:
    """transformers' configuration."""
    from transformers import Qwen2Config

    return Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        tie_word_embeddings=shape.tied,
        rope_theta=1e6,
        # so that activations keep their size from layer to layer
        initializer_range=shape.hidden**-0.5,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )


def random_model(shape: Shape, device: str, dtype: str) -> Any:
    """A model of random weights on `device` as `dtype`; the same one each time on one kind of device."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(configuration(shape), dtype=getattr(torch, dtype))


def described(name: str) -> BaseModel:
    """The base model of that name among the shapes, as the program knows base models."""
    return BaseModel(name, "folder", Path(), "", "Qwen2ForCausalLM", SHAPES[name].parameters)


@contextmanager
def random_weights() -> Iterator[None]:
    """Within, the program gets configuration and weights of a `described` base model from here, not from files."""
    from lora_trainer.models import adapter, load

    def load_model(base: BaseModel, device: str, dtype: str, **_: Any) -> Any:
        load.silence_libraries()
        return random_model(SHAPES[base.source], device, dtype)

    before: Any = load._config, adapter.load_model
    load._config = lambda base: configuration(SHAPES[base.source])  # type: ignore[assignment]
    adapter.load_model = load_model
    try:
        yield
    finally:
        load._config, adapter.load_model = before
