"""What this machine trains on and how fast it multiplies, known without waiting for PyTorch.

A child process asks PyTorch once; what it said is kept in `this-machine.json` in the runs' home, where there is one, as
long as processor, card, driver and PyTorch are the same.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lora_trainer.engine.hardware import Hardware, processor_of_this_machine
from pipeline.run.history import default_home
from pipeline.run.record import read_json, write_json

NAME = "this-machine.json"
_ROOT = Path(__file__).resolve().parents[2]
_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Machine:
    """The device, with the memory that is free on it now, and how fast it multiplies."""

    hardware: Hardware
    speeds: Mapping[int, float] = field(default_factory=dict)
    """Hidden size -> floating point operations a second in products of that size; empty while not measured."""

    def speed(self, hidden: int) -> float | None:
        """The speed of the measured size nearest to this one."""
        near = min(self.speeds, key=lambda size: abs(size - hidden), default=None)
        return None if near is None else self.speeds[near]


def look_at_machine(home: Path | None = None) -> MachineLook:
    """Begin to find out, in the background where it isn't known from before; returns at once."""
    return MachineLook(home or default_home())


class MachineLook:
    """What is known so far."""

    def __init__(self, home: Path) -> None:
        self._file = home / NAME
        self._key = _key()
        self._child: subprocess.Popen[bytes] | None = None
        self._found = self._kept()
        kept = self._found is not None
        work = self._ask_card if kept else self._ask_child
        self._thread: threading.Thread | None = None
        if not kept or (self._found and self._found.hardware.device == "cuda"):
            self._thread = threading.Thread(target=work, daemon=True)
            self._thread.start()

    def now(self) -> Machine | None:
        """What is known now; None while only PyTorch can tell whether there is a card. Never waits."""
        if self._found is not None:
            return _with_free_memory(self._found)
        return Machine(processor_of_this_machine()) if self._key["processor_only"] else None

    def wait(self, seconds: float = 20.0) -> Machine:
        """What is known after at most so long; the processor, where PyTorch didn't answer."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self.now() or Machine(processor_of_this_machine())

    def close(self) -> None:
        """Ask no longer."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()

    def _kept(self) -> Machine | None:
        values = read_json(self._file)
        if values is None or values.get("of") != self._key:
            return None
        return _read(values)

    def _ask_child(self) -> None:
        command = [sys.executable, "-m", "pipeline.offers.measure"]
        try:
            self._child = subprocess.Popen(
                command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            told = self._child.communicate()[0]
            values = json.loads(told)
        except (OSError, ValueError):
            return
        self._found = _read(values)
        # who only looks leaves no folder behind
        if self._found is not None and self._file.parent.is_dir():
            with suppress(OSError):
                write_json(self._file, {"of": self._key, **values})

    def _ask_card(self) -> None:
        """The card's free memory, which changes; NVIDIA's own program tells it without PyTorch."""
        if self._found is None or (program := shutil.which("nvidia-smi")) is None:
            return
        command = [program, "--query-gpu=name,memory.free", "--format=csv,noheader,nounits"]
        with suppress(OSError, ValueError, subprocess.TimeoutExpired):
            told = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=5).stdout
            cards = [line.rpartition(", ") for line in told.splitlines()]
            free = max(int(free) << 20 for name, _, free in cards if name == self._found.hardware.name)
            self._found = replace(self._found, hardware=replace(self._found.hardware, memory_free=free))


def _key() -> dict[str, Any]:
    """What a measurement holds for."""
    here = processor_of_this_machine()
    torch = importlib.metadata.version("torch") if _is_installed("torch") else ""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    cards = _DRIVER.exists() or Path("/dev/kfd").exists() or shutil.which("nvidia-smi") is not None
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    return {
        "torch": torch,
        "python": sys.executable,
        "processor": here.name,
        "usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": here.memory_total,
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "cards": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "driver": _DRIVER.read_text(encoding="utf-8", errors="replace") if _DRIVER.exists() else None,
        "processor_only": not apple and (not cards or hidden or torch.endswith("+cpu")),
    }


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _read(values: Mapping[str, Any]) -> Machine | None:
    try:
        speeds = {int(size): float(speed) for size, speed in values["speeds"].items()}
        return Machine(Hardware(**values["hardware"]), speeds)
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


def _with_free_memory(machine: Machine) -> Machine:
    """What is free changes: of the machine's own memory it is told at once."""
    if machine.hardware.device == "cuda":
        return machine
    free = processor_of_this_machine().memory_free
    if machine.hardware.device == "mps":
        free = min(free, machine.hardware.memory_free)
    return replace(machine, hardware=replace(machine.hardware, memory_free=free))
