"""How much memory a training run needs on a device, and how it is made to fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from lora_trainer.engine.hardware import Hardware
from lora_trainer.models.load import empty_model, load_config
from lora_trainer.models.quantization import BYTES_PER_WEIGHT
from lora_trainer.models.source import BaseModel
from lora_trainer.plan import TrainPlan

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class MemoryUse:
    """How a run uses the device's memory."""

    token_budget: int
    """Tokens of a micro-batch, padding included; a longer sequence is one of its own."""
    checkpointing: bool
    """Activations are computed a second time on the way back instead of being kept: a third slower, far smaller."""


def fit_memory(base: BaseModel, plan: TrainPlan, hardware: Hardware, longest: int = 0, together: int = 0) -> MemoryUse:
    """The fastest use of memory that is estimated to fit; the smallest one where none is. Raises what load_config does.

    `longest`, `together`: tokens of the data's longest sequence and dialogue, where these are known.
    """
    longest = longest or plan.max_length
    budgets = [hardware.token_budget]
    while budgets[-1] > longest:
        budgets.append(max(budgets[-1] // 2, longest))
    step = max(longest, together) * plan.batch_size
    for checkpointing in (False, True):
        for budget in budgets:
            tokens = max(longest, min(budget, step))
            if _estimate(base, plan, hardware, tokens, checkpointing=checkpointing) <= hardware.memory_free:
                return MemoryUse(budget, checkpointing)
    return MemoryUse(budgets[-1], checkpointing=True)


def training_memory_needed(base: BaseModel, plan: TrainPlan, hardware: Hardware) -> int:
    """Bytes that training takes on the device at least, estimated on the safe side. Raises what load_config does."""
    return _estimate(base, plan, hardware, plan.max_length, checkpointing=True)


def _estimate(base: BaseModel, plan: TrainPlan, hardware: Hardware, tokens: int, *, checkpointing: bool) -> int:
    """Base weights, adapter, activations and logits of a micro-batch of `tokens`, and what the libraries take.

    Base weights in the device's type, or in 4 bits those of the linear layers; LoRA weights, gradients and Adam's two
    moments in float32 (16 bytes a weight); of the activations, for each token and layer some 20 values of the hidden
    size and 6 of the MLP's (after Korthikanti et al., 2022, arXiv:2205.05198, without attention matrices, which SDPA
    doesn't keep but on MPS, which has no such kernel for training), or one of the hidden size where they are computed
    twice; logits at a quarter of the positions, three times, in float32.
    """
    config = load_config(base)
    hidden, layers = config.hidden_size, config.num_hidden_layers
    mlp = getattr(config, "intermediate_size", None) or 4 * hidden
    size = BYTES[hardware.dtype]
    weights: float = base.parameters * size
    if plan.qlora:
        weights -= weights_in_four_bits(base) * (size - BYTES_PER_WEIGHT)
    if hardware.shards > 1:
        # and what is gathered for the moment: two layers, the embedding and the output layer
        weights = weights / hardware.shards + (2 * weights / layers + 2 * config.vocab_size * hidden * size)
    lora = plan.lora_rank * layers * (4 * 2 * hidden + 3 * (hidden + mlp)) * 16
    whole_layer = hidden * 20 + mlp * 6
    activations = tokens * size * (whole_layer + hidden * layers if checkpointing else whole_layer * layers)
    if hardware.device == "mps":
        # scores and probabilities of one tree
        activations += 2 * config.num_attention_heads * tokens**2 * size * (1 if checkpointing else layers)
    logits = tokens // 4 * config.vocab_size * 4 * 3
    return int(weights + lora + activations + logits + 500e6)


@lru_cache(maxsize=4)
def weights_in_four_bits(base: BaseModel) -> int:
    """How many weights the base model's linear layers have, the output layer left out. Raises what load_config does."""
    import torch

    model = empty_model(base)
    linear = (m for m in model.modules() if type(m) is torch.nn.Linear and m is not model.get_output_embeddings())
    return sum(layer.weight.numel() for layer in linear)
