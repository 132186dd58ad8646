"""What there is to measure on: device, versions, shapes that fit; plain words where something is missing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

NEEDED = ("torch", "transformers", "peft", "accelerate", "safetensors")
OPTIONAL = ("bitsandbytes", "trl", "liger-kernel", "flash-attn")
REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"

WHY_UNUSED = {
    "note.card.cpu_build": "{card} is there, but this PyTorch ({torch}) was built without CUDA. "
    "{python} -m pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu126",
    "note.card.driver": "{card} is there, but its driver ({driver}) is too old for this PyTorch ({torch}, CUDA {cuda}) "
    "or doesn't work. Bring the driver up to date, or take a PyTorch for an older CUDA: "
    "{python} -m pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu126",
    "note.card.too_old": "{card} is there, but this PyTorch ({torch}) has no code for a card that old. "
    "{python} -m pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu126",
}
NOTHING = "PyTorch ({torch}) finds no graphics card, and there is no nvidia-smi: no NVIDIA card, or no driver for it."
SILENT = "PyTorch ({torch}) finds no graphics card, and nvidia-smi names none: {reason}."
TRY_CPU = "What a CPU can check: python -m bench.gpu --device cpu --tiny"


class NoCard(Exception):
    """There is nothing to measure on, for the reason given."""


def versions() -> dict[str, str | None]:
    """Package -> its version here, None where it isn't installed."""

    def of(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    return {name: of(name) for name in (*NEEDED, *OPTIONAL)}


def wanted(requirements: str) -> dict[str, str]:
    """Package -> the least version that requirements.txt asks for."""
    return dict(re.findall(r"^([\w-]+)>=([\d.]+)", requirements, re.MULTILINE))


def shortcomings(found: dict[str, str | None]) -> tuple[list[str], list[str]]:
    """The needed packages that are missing, and a line for each that is older than requirements.txt asks."""
    least = wanted(REQUIREMENTS.read_text(encoding="utf-8"))
    missing = [name for name in NEEDED if found[name] is None]
    older = [
        f"{name} {found[name]} is older than requirements.txt asks ({least[name]})"
        for name in NEEDED
        if found[name] and _numbers(str(found[name])) < _numbers(least[name])
    ]
    return missing, older


def _numbers(text: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3]]


def look(device: str | None) -> dict[str, Any]:
    """The device that is asked for (the best one here where none is), as plain values; raises NoCard."""
    import torch

    from bench.gpu.ours import hardware_of
    from lora_trainer.engine.hardware import detect

    try:
        found = detect() if device is None else hardware_of(device)
    except RuntimeError as error:
        raise NoCard(f"There is a card, but it fails: {str(error).splitlines()[0]}") from error
    if found.device == "cpu" and device != "cpu":
        raise NoCard(f"{_why_none()}\n{TRY_CPU}")
    facts: dict[str, Any] = {
        "device": found.device,
        "name": found.name,
        "dtype": found.dtype,
        "memory_gb": round(found.memory_total / 1e9, 1),
        "free_gb": round(found.memory_free / 1e9, 1),
        "devices": 1,
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "python": platform.python_version(),
    }
    if found.device == "cuda":
        capability = ".".join(map(str, torch.cuda.get_device_capability()))
        cuda = torch.version.cuda or f"ROCm {torch.version.hip}"
        facts |= {"devices": torch.cuda.device_count(), "capability": capability, "cuda": cuda}
        if shutil.which("nvidia-smi"):
            facts["driver"] = _nvidia_smi("--query-gpu=driver_version", "--format=csv,noheader").splitlines()[0]
    return facts


def _why_none() -> str:
    """Why PyTorch has no graphics card here, with the way out where there is one."""
    import torch

    from lora_trainer.engine.hardware import unused_card

    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides all graphics cards."
    if torch.cuda.is_available():
        # what it sees and the program doesn't take
        values = {"card": torch.cuda.get_device_name(0), "torch": torch.__version__, "python": sys.executable}
        return WHY_UNUSED["note.card.too_old"].format(**values)
    note = unused_card()
    if note is not None:
        return WHY_UNUSED[note.key].format(**note.values)
    if shutil.which("nvidia-smi") is None:
        return NOTHING.format(torch=torch.__version__)
    return SILENT.format(torch=torch.__version__, reason=_nvidia_smi().splitlines()[0].rstrip("."))


def _nvidia_smi(*flags: str) -> str:
    """What it says, a line at least."""
    try:
        told = subprocess.run(
            ["nvidia-smi", *flags], capture_output=True, encoding="utf-8", errors="replace", timeout=20
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return type(error).__name__
    return (told.stdout + told.stderr).strip() or f"exit code {told.returncode}"


def needs(names: list[str], device: str, batch: int) -> dict[str, float]:
    """Shape -> GB that the program estimates a training of it to take on this device at the least."""
    from bench.gpu.data import LONGEST
    from bench.gpu.ours import hardware_of
    from bench.gpu.shapes import described, random_weights
    from lora_trainer.engine.memory import training_memory_needed
    from lora_trainer.plan import TrainPlan

    plan = TrainPlan(max_length=LONGEST, batch_size=batch)
    with random_weights():
        return {n: training_memory_needed(described(n), plan, hardware_of(device)) / 1e9 for n in names}
