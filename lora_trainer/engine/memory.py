"""How much memory a training run needs on a device, how it is made to fit, and what it has taken."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_trainer.engine.hardware import Hardware
from lora_trainer.errors import BaseModelError
from lora_trainer.models.quantization import BYTES_PER_WEIGHT
from lora_trainer.models.shape import SIZES, ModelShape, shape_of_config
from lora_trainer.plan import TrainPlan

if TYPE_CHECKING:
    from lora_trainer.models.source import BaseModel

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_OF_THIS_PROCESS = Path("/proc/self")


@dataclass(frozen=True)
class MemoryUse:
    """How a run uses the device's memory."""

    token_budget: int
    """Tokens of a micro-batch, padding included; a longer sequence is one of its own."""
    checkpointing: bool
    """Activations are computed a second time on the way back instead of being kept: a third slower, far smaller."""
    trees: bool | None = None
    """Whether shared beginnings are computed once; None where that hasn't been tried yet."""

    @classmethod
    def of_steps(cls, history: Sequence[Mapping[str, Any]], device: str) -> MemoryUse | None:
        """How the last step of a run's log was computed, where that was on such a device: a run goes on in the same
        way, whatever memory is free now, since another one would round otherwise. None where the log doesn't say.
        """
        last = next((entry["how"] for entry in reversed(history) if "how" in entry), None)
        if last is None or last["device"] != device:
            return None
        return cls(**{each.name: last[each.name] for each in fields(cls)})


def fit_memory(base: BaseModel, plan: TrainPlan, hardware: Hardware, longest: int = 0, together: int = 0) -> MemoryUse:
    """The fastest use of memory that is estimated to fit; the smallest one where none is. Raises what load_config does.

    `longest`, `together`: tokens of the data's longest sequence and dialogue, where these are known.
    """
    longest = longest or plan.max_length
    shape, four_bits = shape_of(base), weights_in_four_bits(base) if plan.qlora else 0
    budgets = [hardware.token_budget]
    while budgets[-1] > longest:
        budgets.append(max(budgets[-1] // 2, longest))
    step = max(longest, together) * plan.batch_size
    for checkpointing in (False, True):
        for budget in budgets:
            tokens = max(longest, min(budget, step))
            needed = memory_needed(shape, plan, hardware, tokens, checkpointing=checkpointing, four_bits=four_bits)
            if needed <= hardware.memory_free:
                return MemoryUse(budget, checkpointing)
    return MemoryUse(budgets[-1], checkpointing=True)


def training_memory_needed(base: BaseModel, plan: TrainPlan, hardware: Hardware) -> int:
    """Bytes that training takes on the device at least, estimated on the safe side. Raises what load_config does."""
    return least_memory(shape_of(base), plan, hardware, weights_in_four_bits(base) if plan.qlora else 0)


def least_memory(shape: ModelShape, plan: TrainPlan, hardware: Hardware, four_bits: int = 0) -> int:
    """The same of a model whose sizes alone are known; `four_bits` of its weights are held in 4 bits."""
    return memory_needed(shape, plan, hardware, plan.max_length, checkpointing=True, four_bits=four_bits)


def memory_needed(
    shape: ModelShape, plan: TrainPlan, hardware: Hardware, tokens: int, *, checkpointing: bool, four_bits: int = 0
) -> int:
    """Base weights, adapter, activations and logits of a micro-batch of `tokens`, and what the libraries take.

    Base weights in the device's type, or in 4 bits those of the linear layers; LoRA weights, gradients and Adam's two
    moments in float32 (16 bytes a weight); of the activations, for each token and layer some 20 values of the hidden
    size and 6 of the MLP's (after Korthikanti et al., 2022, arXiv:2205.05198, without attention matrices, which SDPA
    doesn't keep but on MPS, which has no such kernel for training), or one of the hidden size where they are computed
    twice; logits at a quarter of the positions, three times, in float32.
    """
    hidden, layers, mlp = shape.hidden, shape.layers, shape.mlp
    size = BYTES[hardware.dtype]
    weights = shape.parameters * size - four_bits * (size - BYTES_PER_WEIGHT)
    if hardware.shards > 1:
        # and what is gathered for the moment: two layers, the embedding and the output layer
        weights = weights / hardware.shards + (2 * weights / layers + 2 * shape.vocabulary * hidden * size)
    lora = shape.adapter_weights(plan.lora_rank) * 16
    whole_layer = hidden * 20 + mlp * 6
    activations = tokens * size * (whole_layer + hidden * layers if checkpointing else whole_layer * layers)
    if hardware.device == "mps":
        # scores and probabilities of one tree
        activations += 2 * shape.heads * tokens**2 * size * (1 if checkpointing else layers)
    logits = tokens // 4 * shape.vocabulary * 4 * 3
    return int(weights + lora + activations + logits + 500e6)


def shape_of(base: BaseModel) -> ModelShape:
    """The sizes of a base model. Raises what load_config does, BaseModelError where its sizes aren't all there too."""
    from lora_trainer.models.load import load_config

    config = load_config(base)
    # by transformers' own names, whatever the family calls them
    shape = shape_of_config({name: _size_in(config, name) for name in SIZES}, base.parameters)
    if shape is None:
        raise BaseModelError("error.base_model.broken_config", path=str(base.path), reason="no hidden size or layers")
    return shape


def _size_in(config: Any, name: str) -> Any:
    """A size of a configuration; where layers have sizes of their own, the largest."""
    try:
        return getattr(config, name, None)
    except RuntimeError:  # transformers gives none for the whole model then
        sizes = [getattr(layer, name, None) for layer in config.per_layer_config]
        return max((size for size in sizes if isinstance(size, int)), default=None)


@lru_cache(maxsize=4)
def weights_in_four_bits(base: BaseModel) -> int:
    """How many weights the base model's linear layers have, the output layer left out. Raises what load_config does."""
    import torch

    from lora_trainer.models.load import empty_model

    model = empty_model(base)
    linear = (m for m in model.modules() if type(m) is torch.nn.Linear and m is not model.get_output_embeddings())
    return sum(layer.weight.numel() for layer in linear)


def held(device: str) -> int:
    """Bytes that this process holds of the device's memory, for later use too; of the machine's on the CPU."""
    import psutil  # type: ignore[import-untyped, unused-ignore]
    import torch

    if device == "cuda":
        return int(torch.cuda.memory_reserved())
    if device == "mps":
        return int(torch.mps.driver_allocated_memory())
    return int(psutil.Process().memory_info().rss)


def count_peak_anew(device: str) -> None:
    """Let `peak` tell of what comes from now on, where that can be had: of a CUDA card, and of the machine on Linux.

    Elsewhere it is that of the whole process.
    """
    import torch

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif device == "cpu" and sys.platform == "linux":
        try:
            # 5: the peak becomes what is held now (proc_pid_clear_refs(5))
            (_OF_THIS_PROCESS / "clear_refs").write_text("5\n")
        except OSError:  # a kernel without it, or a sandbox that keeps it from us
            return


def peak(device: str) -> int:
    """The most bytes that this process has held of the device's memory (see `held`).

    MPS keeps no such count: what it holds now.
    """
    import torch

    if device == "cuda":
        return int(torch.cuda.max_memory_reserved())
    if device == "mps":
        return held(device)
    if sys.platform == "linux":
        lines = (_OF_THIS_PROCESS / "status").read_text().splitlines()
        found = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
        if found is not None:
            return int(found) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    # bytes on a Mac, KiB elsewhere (getrusage(2) of both)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
