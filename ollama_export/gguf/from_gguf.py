"""A base model that is a GGUF itself: metadata, tokenizer and untouched tensors are copied, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from file_formats.file_types import FILE_TYPES
from file_formats.gguf import GgufHead, TensorInfo
from lora_trainer.errors import ConversionError
from ollama_export.gguf.head import gguf_head
from ollama_export.gguf.lora_delta import LoraDelta
from ollama_export.gguf.rounding import Hear, encoded_pieces, fitting_type

if TYPE_CHECKING:
    import numpy as np

Source = Callable[[TensorInfo, Hear], Iterator[Any]]
"""The data of a weight, piece by piece, in the type that its entry in the new GGUF's head has in the end."""
COPIED = 1 << 20
"""Bytes that are copied at a time."""

# general.architecture in which each linear layer of transformers is one tensor of the GGUF, unchanged but for the
# order of rows in Llama's q and k projections (Qwen3.5's reorder the heads of what they recall, in both directions)
ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "lfm2", "nemotron", "stablelm", "starcoder2")


class StoredRows:
    """A tensor of a GGUF in float32, its delta added where it has one."""

    def __init__(self, path: Path, tensor: TensorInfo, delta: LoraDelta | None = None) -> None:
        self._path = path
        self._tensor = tensor
        self._delta = delta

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop` in float32, read from the file now."""
        import gguf
        import numpy as np

        tensor = self._tensor
        count = (stop - start) * tensor.row_bytes
        raw = np.fromfile(self._path, np.uint8, count, offset=tensor.offset + start * tensor.row_bytes)
        kind = gguf.GGMLQuantizationType(tensor.type)
        weights: np.ndarray = gguf.quants.dequantize(raw.reshape(stop - start, -1), kind)
        return self._delta.added_to(weights, start) if self._delta else weights


def plan_gguf(
    path: Path, deltas: dict[str, LoraDelta], file_type: str
) -> tuple[dict[str, bytes], list[tuple[TensorInfo, Source]]]:
    """Metadata and tensors of the new GGUF, no weight read yet; `file_type` (f32, f16, bf16 or q8_0) is for those with
    a delta.

    Raises ConversionError for a broken file, for an architecture whose weights can't be matched with an adapter's, and
    for a delta without a weight of its shape.
    """
    head = gguf_head(path)
    by_tensor = _by_tensor(head, deltas) if deltas else {}
    plan: list[tuple[TensorInfo, Source]] = []
    wanted = FILE_TYPES[file_type].matrices
    for tensor in head.tensors:
        delta = by_tensor.get(tensor.name)
        if delta is None:
            new = tensor
        else:
            if delta.shape != tensor.shape:
                raise ConversionError("error.adapter.shape", adapter=delta.shape, weight=tensor.shape)
            new = TensorInfo(tensor.name, tensor.shape, fitting_type(wanted, tensor.shape[-1]))
        plan.append((new, partial(_pieces, path, tensor, delta)))
    return dict(head.metadata), plan


def is_mostly_new(path: Path, plan: Sequence[tuple[TensorInfo, Source]]) -> bool:
    """Whether most weights have another type than in the GGUF at `path`: the type of most names a file."""
    before = {tensor.name: tensor.type for tensor in gguf_head(path).tensors}
    weights = {tensor.name: math.prod(tensor.shape) for tensor, _ in plan}
    new = sum(weights[tensor.name] for tensor, _ in plan if tensor.type != before[tensor.name])
    return 2 * new > sum(weights.values())


def _pieces(path: Path, old: TensorInfo, delta: LoraDelta | None, new: TensorInfo, hear: Hear) -> Iterator[Any]:
    if delta is None and new.type == old.type:
        return copied(path, old)
    return encoded_pieces(new, StoredRows(path, old, delta), hear)


def tensor_names(head: GgufHead, weights: Iterable[str]) -> dict[str, str]:
    """Of weights as transformers names them, those that the GGUF's architecture has: their names there.

    Raises ConversionError for an architecture whose weights can't be matched.
    """
    import gguf

    architecture = head.architecture
    if architecture not in ARCHITECTURES:
        values = {"architecture": architecture, "source": head.get("general.name", "GGUF")}
        raise ConversionError("error.base.not_mergeable", known=", ".join(ARCHITECTURES), **values)
    key = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(key, head.get(f"{architecture}.block_count"))
    found = {weight: names.get_name(weight, try_suffixes=(".weight",)) for weight in weights}
    return {weight: name for weight, name in found.items() if name is not None}


def _by_tensor(head: GgufHead, deltas: dict[str, LoraDelta]) -> dict[str, LoraDelta]:
    architecture, names = head.architecture, tensor_names(head, deltas)
    found = {}
    for weight, delta in deltas.items():
        name = names.get(weight)
        if name is None:
            raise ConversionError("error.adapter.unmerged", count=1, names=weight)
        if architecture == "llama" and name.endswith(("attn_q.weight", "attn_k.weight")):
            heads = head.get("llama.attention.head_count")
            if name.endswith("attn_k.weight"):
                heads = head.get("llama.attention.head_count_kv", heads)
            layer = int(name.split(".")[1])
            delta.merged = True  # the reordered copy takes its place, and is held against the tensor's shape
            delta = delta.rotary_order(heads[layer] if isinstance(heads, list) else heads)
        found[name] = delta
    tensors = {tensor.name for tensor in head.tensors}
    missing = sorted(set(found) - tensors)
    if missing:
        raise ConversionError("error.adapter.unmerged", count=len(missing), names=", ".join(missing[:3]))
    return found


def copied(path: Path, tensor: TensorInfo) -> Iterator[bytes]:
    """The data of `tensor` as they stand in the GGUF at `path`; raises ConversionError where that ends before."""
    with path.open("rb", buffering=0) as file:
        file.seek(tensor.offset)
        left = tensor.size
        while left:
            piece = file.read(min(COPIED, left))
            if not piece:
                raise ConversionError("error.gguf.broken", path=str(path), reason=tensor.name)
            left -= len(piece)
            yield piece
