"""What this machine trains on: the device, the type that it computes in, its memory."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lora_trainer.engine.sharding import shards
from lora_trainer.events import Note


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
        """Tokens, padding included, that one micro-batch starts with; halved where memory runs out.

        A CPU gains nothing by more (measured on one core, in a layer of a 0.5B model's shape: 0.50 ms a token at 512,
        0.45 at 1024, 0.44 at 2048 and at 4096). The others' are estimates: what computes more at once wants more.
        """
        return {"cpu": 2048, "mps": 4096, "cuda": 8192}[self.device]


def detect() -> Hardware:
    """The best device here that this PyTorch has code for: CUDA (or ROCm), then MPS, then the CPU.

    bfloat16 needs compute capability 8.0 to be native (NVIDIA's CUDA C++ Programming Guide); below it float16 with
    loss scaling. MPS and the CPU compute in float32.
    """
    import torch

    processor = processor_of_this_machine()
    # this process' own, not the first one's
    device = int(os.environ.get("LOCAL_RANK", "0")) % max(1, torch.cuda.device_count())
    if torch.cuda.is_available() and _has_code_for(device):
        free, total = torch.cuda.mem_get_info(device)
        native = torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
        dtype: Any = "bfloat16" if native else "float16"
        return Hardware("cuda", dtype, torch.cuda.get_device_name(device), total, free, shards())
    if torch.backends.mps.is_available():
        # what Metal lets one process have; the rest of the common memory is for the others
        own = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return Hardware("mps", "float32", "Apple GPU", processor.memory_total, min(processor.memory_free, own))
    return processor


def processor_of_this_machine() -> Hardware:
    """What is trained on where there is no card; PyTorch isn't asked."""
    import psutil  # type: ignore[import-untyped, unused-ignore]

    memory = psutil.virtual_memory()
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


def _processor_name() -> str:
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} threads"
