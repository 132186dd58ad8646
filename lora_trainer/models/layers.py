"""Which layers of a base model get an adapter: named here one by one, not left to PEFT's `all-linear`.

Every linear layer does but the output layer, what routes tokens to experts, the experts themselves, and what isn't
called as a layer. An adapter on experts that are one tensor is no pair of factors for one matrix, which no GGUF could
be given; those that are layers of their own would get one so small a part of the dialogues each that it learns little.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lora_trainer.errors import BaseModelError

_ROUTERS = {"gate", "router", "wg", "shared_expert_gate", "modality_router", "correction_coefs", "prediction_coefs"}
"""Names of what decides which expert, or which of Gemma 3n's parallel streams, a token goes to."""
_ATTENTION = ("attn", "attention")
_LIKE_EXPERTS = {"gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"}
"""Names that PEFT may take for those of experts."""


@dataclass(frozen=True)
class AdaptedLayers:
    """The layers of one model that get an adapter."""

    names: tuple[str, ...]
    """Full paths, in the model's order."""
    experts: bool
    """Whether there are experts, which get none."""

    @property
    def kinds(self) -> list[str]:
        """What the layers are called, whatever layer of the model they are in: q_proj, k_proj, …"""
        return list(dict.fromkeys(name.rpartition(".")[2] for name in self.names))


def adapted_layers(model: Any, attach: Callable[[Any, list[str]], Any], empty: Callable[[], Any]) -> AdaptedLayers:
    """The layers of `model` (transformers' causal language model, without an adapter) that get one.

    `attach(model, names)` gives a model adapters on those layers by PEFT, `empty()` is the model without weights: where
    there are experts PEFT is tried on that, since it takes (for Mixtral, Qwen-MoE, DeepSeek and others) the names of
    dense layers for theirs; then it is attention alone. Raises BaseModelError where no layer is left.
    """
    every = list(_linear_layers(model))
    if not any("experts" in name.split(".") for name, _ in model.named_modules()):
        if every:
            return AdaptedLayers(tuple(every), experts=False)
        raise BaseModelError("error.base.no_layers", architecture=type(model).__name__)
    attention = [name for name in every if any(part in name for part in _ATTENTION)]
    plain = [name for name in attention if name.rpartition(".")[2] not in _LIKE_EXPERTS]
    for names in (every, attention, plain):
        if names and _takes(empty(), attach, names):
            return AdaptedLayers(tuple(names), experts=True)
    raise BaseModelError("error.base.no_layers", architecture=type(model).__name__)


def _takes(model: Any, attach: Callable[[Any, list[str]], Any], names: list[str]) -> bool:
    """Whether PEFT gives adapters to just the layers that are named."""
    try:
        with warnings.catch_warnings():
            # what it makes of names that it takes for others' it warns of, too
            warnings.simplefilter("ignore")
            adapted = attach(model, names)
    except ValueError:  # those of the experts that it takes them for aren't all there
        return False
    return set(_layers_with_adapter(adapted)) == set(names)


def kinds_with_adapter(model: Any) -> dict[str, int]:
    """Kind of layer (`q_proj`) -> how many layers of a PEFT model have an adapter."""
    return dict(Counter(name.rpartition(".")[2] for name in _layers_with_adapter(model)))


def _layers_with_adapter(model: Any) -> list[str]:
    from peft.tuners.lora import LoraLayer

    found = (name for name, module in model.named_modules() if isinstance(module, LoraLayer))
    return [name.removeprefix("base_model.model.").replace(".base_layer", "") for name in found]


def _linear_layers(model: Any) -> Iterable[str]:
    import torch

    output, parents = model.get_output_embeddings(), dict(model.named_modules())
    for name, module in parents.items():
        *path, own = name.split(".")
        if not isinstance(module, torch.nn.Linear) or module is output or own in _ROUTERS:
            continue
        if any(part in ("expert", "experts") for part in path):
            continue
        # the kernels for CUDA of a state space model (Mamba, 1 and 2) take the weights of all but its first layer
        mixer = parents[".".join(path)]
        if hasattr(mixer, "A_log") and hasattr(mixer, "D") and own != "in_proj":
            continue
        yield name
