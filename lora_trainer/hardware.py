"""What this machine trains on, and how much memory a training run needs there."""

from __future__ import annotations

import ctypes
import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lora_trainer.four_bits import BYTES_PER_WEIGHT, weights_in_four_bits
from lora_trainer.plan import TrainPlan
from lora_trainer.sharding import shards

if TYPE_CHECKING:
    from lora_trainer.base_models import BaseModel

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Hardware:
    """The device that training uses, with the type of its base weights."""

    device: Literal["cuda", "mps", "cpu"]
    dtype: Literal["bfloat16", "float16", "float32"]
    name: str
    memory_total: int
    """Bytes of the device's own memory; of the machine's where device and processor share it."""
    memory_free: int
    """Bytes of it that are free now."""
    shards: int = 1
    """Among how many such devices the base weights are split (FSDP)."""

    @property
    def token_budget(self) -> int:
        """Tokens, padding included, that one micro-batch starts with; halved where memory runs out."""
        return {"cpu": 2048, "mps": 4096, "cuda": 8192}[self.device]


def detect() -> Hardware:
    """The best device here: CUDA (or ROCm), then MPS, then the CPU.

    bfloat16 needs compute capability 8.0 to be native (NVIDIA's CUDA C++ Programming Guide); below it float16 with
    loss scaling. MPS and the CPU compute in float32.
    """
    import psutil  # type: ignore[import-untyped, unused-ignore]
    import torch

    memory = psutil.virtual_memory()
    if torch.cuda.is_available():
        # this process' own, not the first one's
        device = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
        free, total = torch.cuda.mem_get_info(device)
        native = torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
        dtype: Any = "bfloat16" if native else "float16"
        return Hardware("cuda", dtype, torch.cuda.get_device_name(device), total, free, shards())
    if torch.backends.mps.is_available():
        return Hardware("mps", "float32", "Apple GPU", memory.total, memory.available)
    return Hardware("cpu", "float32", _processor_name(), memory.total, memory.available, shards())


def _processor_name() -> str:
    import platform

    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} threads"


@dataclass(frozen=True)
class MemoryUse:
    """How a run uses the device's memory."""

    token_budget: int
    """Tokens of a micro-batch, padding included; a longer sequence is one of its own."""
    checkpointing: bool
    """Activations are computed a second time on the way back instead of being kept: a third slower, far smaller."""


def fit_memory(base: BaseModel, plan: TrainPlan, hardware: Hardware) -> MemoryUse:
    """The fastest use of memory that is estimated to fit; the smallest one where none is."""
    budgets = [hardware.token_budget]
    while budgets[-1] > plan.max_length:
        budgets.append(max(budgets[-1] // 2, plan.max_length))
    for checkpointing in (False, True):
        for budget in budgets:
            use = MemoryUse(budget, checkpointing)
            if _estimate(base, plan, hardware, use) <= hardware.memory_free:
                return use
    return MemoryUse(budgets[-1], checkpointing=True)


def training_memory_needed(base: BaseModel, plan: TrainPlan, hardware: Hardware) -> int:
    """Bytes that training takes on the device at the least, estimated on the safe side."""
    return _estimate(base, plan, hardware, MemoryUse(plan.max_length, checkpointing=True))


def _estimate(base: BaseModel, plan: TrainPlan, hardware: Hardware, use: MemoryUse) -> int:
    """Base weights, adapter, activations and logits of one micro-batch, and what the libraries take.

    Base weights in the device's type, or in 4 bits those of the linear layers; LoRA weights, gradients and Adam's two
    moments in float32 (16 bytes a weight); of the activations, for each token and layer some 20 values of the hidden
    size and 6 of the MLP's (after Korthikanti et al., 2022, arXiv:2205.05198, without attention matrices, which SDPA
    doesn't keep), or one of the hidden size where they are computed twice; logits at a quarter of the positions, three
    times, in float32.
    """
    from lora_trainer.base_models import load_config

    config = load_config(base)
    hidden, layers = config.hidden_size, config.num_hidden_layers
    mlp = getattr(config, "intermediate_size", None) or 4 * hidden
    size = BYTES[hardware.dtype]
    tokens = max(plan.max_length, min(use.token_budget, plan.max_length * plan.batch_size))
    weights: float = base.parameters * size
    if plan.qlora:
        weights -= weights_in_four_bits(base) * (size - BYTES_PER_WEIGHT)
    if hardware.shards > 1:
        # and what is gathered for the moment: two layers, the embedding and the output layer
        weights = weights / hardware.shards + (2 * weights / layers + 2 * config.vocab_size * hidden * size)
    lora = plan.lora_rank * layers * (4 * 2 * hidden + 3 * (hidden + mlp)) * 16
    whole_layer = hidden * 20 + mlp * 6
    activations = tokens * size * (whole_layer + hidden * layers if use.checkpointing else whole_layer * layers)
    logits = tokens // 4 * config.vocab_size * 4 * 3
    return int(weights + lora + activations + logits + 500e6)


def give_back_free_memory() -> None:
    """Hand to the system what glibc keeps of memory that was freed; other allocators see to it themselves."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
