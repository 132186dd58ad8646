"""What this machine trains on, and how much memory a training run needs there."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lora_trainer.events import Note
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
    """The best device here that this PyTorch has code for: CUDA (or ROCm), then MPS, then the CPU.

    bfloat16 needs compute capability 8.0 to be native (NVIDIA's CUDA C++ Programming Guide); below it float16 with
    loss scaling. MPS and the CPU compute in float32.
    """
    import psutil  # type: ignore[import-untyped, unused-ignore]
    import torch

    memory = psutil.virtual_memory()
    # this process' own, not the first one's
    device = int(os.environ.get("LOCAL_RANK", "0")) % max(1, torch.cuda.device_count())
    if torch.cuda.is_available() and _has_code_for(device):
        free, total = torch.cuda.mem_get_info(device)
        native = torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
        dtype: Any = "bfloat16" if native else "float16"
        return Hardware("cuda", dtype, torch.cuda.get_device_name(device), total, free, shards())
    if torch.backends.mps.is_available():
        # what Metal lets one process have; the rest of the common memory is for the others
        free = min(memory.available, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
        return Hardware("mps", "float32", "Apple GPU", memory.total, free)
    return Hardware("cpu", "float32", _processor_name(), memory.total, memory.available, shards())


def _has_code_for(device: int) -> bool:
    """Whether this PyTorch was built for a graphics card: its binaries have left out old ones since 2.8.

    Code for a compute capability runs on those of the same major number from its minor number on, PTX ("compute_80") on
    all from its own on (NVIDIA's CUDA C++ Programming Guide).
    """
    import torch

    if torch.version.hip is not None:
        return True
    major, minor = torch.cuda.get_device_capability(device)
    built_for: Sequence[str] = torch.cuda.get_arch_list()
    for kind, _, digits in (name.rstrip("af").partition("_") for name in built_for):
        its = int(digits[:-1]), int(digits[-1])
        if its <= (major, minor) and (kind == "compute" or its[0] == major):
            return True
    return False


def unused_card() -> Note | None:
    """Why the NVIDIA card of this machine isn't trained on, with the way out; None where it is, or there is none."""
    import torch

    program = shutil.which("nvidia-smi")
    if program is None or detect().device != "cpu" or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return None
    command = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if told.returncode != 0 or not told.stdout.strip():
        return None
    card, _, driver = told.stdout.splitlines()[0].rpartition(", ")
    values = {"card": card, "driver": driver, "torch": torch.__version__, "python": sys.executable}
    if torch.version.cuda is None:
        return Note("note.card.cpu_build", values)
    key = "note.card.too_old" if torch.cuda.is_available() else "note.card.driver"
    return Note(key, values | {"cuda": torch.version.cuda})


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; CUDA has a class for it, all the others have only words.

    MPS refuses buffers of more than half the memory as invalid; cuBLAS and bitsandbytes allocate for themselves.
    """
    import torch

    words = ("out of memory", "can't allocate memory", "not enough memory", "Invalid buffer size", "ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)


def give_memory_back(device: str) -> None:
    """Give what nothing refers to any more back: the device's ("cuda", "mps") to Ollama or the next run, ours to all.

    glibc keeps memory that was freed; other allocators see to it themselves.
    """
    import torch

    # models and trainers refer to themselves in circles
    gc.collect()
    if device != "cpu":
        getattr(torch, device).empty_cache()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _processor_name() -> str:
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} threads"


@dataclass(frozen=True)
class MemoryUse:
    """How a run uses the device's memory."""

    token_budget: int
    """Tokens of a micro-batch, padding included; a longer sequence is one of its own."""
    checkpointing: bool
    """Activations are computed a second time on the way back instead of being kept: a third slower, far smaller."""


def fit_memory(base: BaseModel, plan: TrainPlan, hardware: Hardware, longest: int = 0, together: int = 0) -> MemoryUse:
    """The fastest use of memory that is estimated to fit; the smallest one where none is.

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
    """Bytes that training takes on the device at the least, estimated on the safe side."""
    return _estimate(base, plan, hardware, plan.max_length, checkpointing=True)


def _estimate(base: BaseModel, plan: TrainPlan, hardware: Hardware, tokens: int, *, checkpointing: bool) -> int:
    """Base weights, adapter, activations and logits of a micro-batch of `tokens`, and what the libraries take.

    Base weights in the device's type, or in 4 bits those of the linear layers; LoRA weights, gradients and Adam's two
    moments in float32 (16 bytes a weight); of the activations, for each token and layer some 20 values of the hidden
    size and 6 of the MLP's (after Korthikanti et al., 2022, arXiv:2205.05198, without attention matrices, which SDPA
    doesn't keep but on MPS, which has no such kernel for training), or one of the hidden size where they are computed
    twice; logits at a quarter of the positions, three times, in float32.
    """
    from lora_trainer.base_models import load_config

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
