"""The export of a base model as far as it goes without a training: names and shapes, with deltas of nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from file_formats.gguf import GgufHead
from file_formats.safetensors import read_head, weight_files
from lora_trainer.errors import ConversionError
from ollama_export.gguf.from_folder import plan_folder
from ollama_export.gguf.from_gguf import plan_gguf, tensor_names
from ollama_export.gguf.head import gguf_head
from ollama_export.gguf.lora_delta import LoraDelta
from ollama_export.gguf.weight_names import bare_name, trained_names

_LAYER = re.compile(r"(?<=\.)\d+(?=\.)")


def plan_without_learning(base: Path, kind: str, adapted: Iterable[str], file_type: str) -> None:
    """Plan the export of the base model at `base`, a delta of zeros on every weight of the kinds in `adapted`.

    `adapted` are names of weights that an adapter of a smaller model of its kind has, whatever their layers. No weight
    is read, and no vocabulary. Raises ConversionError, and whatever the converter does, where the export would after
    the training.
    """
    kinds = {_kind(name) for name in adapted}
    shapes = _shapes_in_gguf(gguf_head(base), adapted) if kind == "gguf" else _shapes_in_folder(base)
    deltas = {name: _nothing(shape) for name, shape in shapes.items() if _kind(name) in kinds and len(shape) == 2}
    missing = sorted(kinds - {_kind(name) for name in deltas})
    if missing:
        raise ConversionError("error.adapter.unmerged", count=len(missing), names=", ".join(missing[:3]))
    if kind == "gguf":
        plan_gguf(base, deltas, file_type)
    else:
        plan_folder(base, deltas, file_type, "foretaste", only_tensors=True)


def _kind(name: str) -> str:
    """A weight's name whatever its layer."""
    return _LAYER.sub("N", bare_name(name))


def _nothing(shape: tuple[int, ...]) -> LoraDelta:
    import numpy as np

    return LoraDelta(np.zeros((1, shape[1]), np.float32), np.zeros((shape[0], 1), np.float32), 1.0)


def _shapes_in_folder(folder: Path) -> dict[str, tuple[int, ...]]:
    """By the names that transformers has for them."""
    heads = (read_head(folder / file) for file in weight_files(folder))
    shapes = {name: tuple(entry.shape) for head in heads for name, entry in head.tensors.items()}
    return {trained: shapes[name] for name, trained in trained_names(folder, shapes).items()}


def _shapes_in_gguf(head: GgufHead, adapted: Iterable[str]) -> dict[str, tuple[int, ...]]:
    shapes = {tensor.name: tensor.shape for tensor in head.tensors}
    layers = head.get(f"{head.architecture}.block_count")
    names = {_LAYER.sub(str(layer), name, count=1) for name in adapted for layer in range(layers)}
    found = tensor_names(head, names)
    return {name: shapes[tensor] for name, tensor in found.items() if tensor in shapes}
