"""Whether this machine has what a run takes: disk, memory, and a way to compute in 4 bits."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from file_formats.file_types import FILE_TYPES
from lora_trainer.errors import OllamaError, ResourceError, UsageError
from lora_trainer.events import Listener, Note
from pipeline.job import Job

if TYPE_CHECKING:
    from lora_trainer.models.source import BaseModel

SPARE_DISK = 256 << 20
"""Bytes that stay free beside what a run writes: checkpoints, the loss curve, somebody else's files."""


def check_disk(job: Job, base: BaseModel, listener: Listener) -> dict[str, Any]:
    """Room for the GGUF, and for Ollama's copies of it; where its store can't be seen from here, that is said.

    Raises ResourceError.
    """
    written = written_bytes(base.parameters, job.serving.quantize)
    needed: dict[Path, float] = {_existing(job.history.home): written + SPARE_DISK}
    if job.client is not None:
        copies, store = written * (3 if job.client.rewrites else 1), job.client.store()
        if store is None:
            listener(Note("note.disk.unseen", {"host": job.client.host, "needed": _gb(copies)}))
        else:
            same = next((place for place in needed if place.stat().st_dev == store.stat().st_dev), store)
            needed[same] = needed.get(same, 0) + copies
    for place, size in needed.items():
        free = shutil.disk_usage(place).free
        if free < size:
            raise ResourceError("error.disk.too_small", path=place, needed=_gb(size), free=_gb(free))
    return {"needed": _gb(sum(needed.values()))}


def written_bytes(parameters: int, file_type: str) -> float:
    """Bytes of the GGUF of a model of so many weights."""
    return parameters * FILE_TYPES[file_type].bytes_per_weight


def check_quantizer(file_type: str) -> None:
    """Raise UsageError where a GGUF of this type can't be written here."""
    from ollama_export.gguf.k_quants import is_installed

    if not FILE_TYPES[file_type].by_converter and not is_installed():
        known = ", ".join(name for name, row in FILE_TYPES.items() if row.by_converter and row.offered)
        raise UsageError("error.quantize.no_quantizer", file_type=file_type, known=known)


def check_four_bits(base: BaseModel, listener: Listener) -> dict[str, Any]:
    """Whether the base model can be trained on in 4 bits here; raises UsageError."""
    from lora_trainer.engine.hardware import detect
    from lora_trainer.engine.sharding import is_asked_for
    from lora_trainer.models import quantization

    hardware = detect()
    version = quantization.check_four_bits(
        base.source,
        base.kind,
        device=hardware.device,
        device_name=hardware.name,
        dtype=hardware.dtype,
        sharded=is_asked_for(),
    )
    if hardware.device != "cuda":
        listener(Note("note.qlora.slow", {"device": hardware.name}))
    return {"version": version}


def take_memory_back(job: Job, base: BaseModel, listener: Listener) -> None:
    """Have an Ollama on this machine give the memory of its models back, where the training would lack it.

    It keeps a model for five minutes after the last answer, and loads it again when it is asked.
    """
    from lora_trainer.engine.hardware import detect
    from lora_trainer.engine.memory import fit_memory

    if job.client is None or not job.client.is_local or job.request.dry_run:
        return
    hardware = detect()
    if fit_memory(base, job.plan, hardware) == fit_memory(
        base, job.plan, replace(hardware, memory_free=hardware.memory_total)
    ):
        return
    freed = []
    with suppress(OllamaError):  # one that doesn't answer holds nothing that could be had
        for name in job.client.loaded():
            job.client.unload(name)
            freed.append(name)
    if freed:
        listener(Note("note.memory.taken_back", {"models": ", ".join(freed)}))


def check_memory(job: Job, base: BaseModel) -> dict[str, Any]:
    """Memory for the training, as estimated; raises ResourceError with the numbers."""
    from lora_trainer.engine.hardware import detect
    from lora_trainer.engine.memory import training_memory_needed

    hardware = detect()
    needed = training_memory_needed(base, job.plan, hardware)
    if needed > hardware.memory_free:
        in_four_bits = replace(job.plan, qlora=True)
        helps = (
            base.kind == "folder"
            and hardware.shards == 1
            and training_memory_needed(base, in_four_bits, hardware) <= hardware.memory_free
        )
        raise ResourceError(
            "error.memory.too_small_unless_qlora" if helps else "error.memory.too_small",
            device=hardware.name,
            dtype=hardware.dtype,
            needed=_gb(needed),
            free=_gb(hardware.memory_free),
            total=_gb(hardware.memory_total),
        )
    return {"device": hardware.name, "needed": _gb(needed), "free": _gb(hardware.memory_free)}


def _existing(path: Path) -> Path:
    """The nearest folder above (or at) a path that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


def parameter_count(parameters: int) -> str:
    """A model's size as people say it: 135M, 7.6B."""
    return f"{parameters / 1e9:.1f}B" if parameters >= 1e9 else f"{parameters / 1e6:.3g}M"
