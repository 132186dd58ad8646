"""A GGUF in 16-bit floats -> one in K-quants, where there is no Ollama to do it: by libgguf, llama.cpp's own kernels.

Which weights get more bits follows llama_tensor_get_type_impl in llama.cpp's src/llama-quant.cpp (dense models, no
importance matrix).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from file_formats.file_types import BF16, BLOCKS, F16, FILE_TYPES, Q3_K, Q4_0, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0
from file_formats.gguf import UINT32 as U32
from file_formats.gguf import TensorInfo, encode, serving_order
from lora_trainer.errors import ConversionError
from ollama_export.gguf.from_gguf import StoredRows, copied
from ollama_export.gguf.head import gguf_head
from ollama_export.gguf.rounding import encoded_pieces
from ollama_export.gguf.stream import GgufFile, GgufStream, Progress, unheard

FALLBACK = {Q3_K: Q4_0, Q4_K: Q5_0, Q5_K: Q5_1, Q6_K: Q8_0}
"""For rows that are no whole number of 256 weights (tensor_type_fallback)."""
KEPT = ("altup", "laurel", "per_layer_model_proj")
"""Matrices that llama.cpp never quantises, in 16 bits in its converter's files; others of that kind are in float32."""


def quantize_gguf(src: Path, out: Path, file_type: str, *, progress: Progress = unheard) -> GgufFile:
    """Write `src` (f16 or bf16) to `out` as `file_type` (one of FILE_TYPES that isn't streamed, in any case).

    `progress` hears bytes written and their total. Raises ConversionError for an unknown type or a broken file,
    ResourceError for a full disk; `out` appears when it is whole.
    """
    known = {name.lower(): name for name, row in FILE_TYPES.items() if not row.streamed}
    if file_type.lower() not in known:
        raise ConversionError("error.quantize.type", file_type=file_type, known=", ".join(known.values()))
    file_type = known[file_type.lower()]
    head = gguf_head(src)
    metadata = {k: v for k, v in head.metadata.items() if k != "general.file_type"}
    metadata["general.file_type"] = encode(FILE_TYPES[file_type].number, U32)
    tensors = sorted(head.tensors, key=lambda tensor: serving_order(tensor.name))
    layers = head.get(f"{head.get('general.architecture')}.block_count", 0)
    kinds = _kinds(tensors, file_type, layers)
    plan: list[tuple[TensorInfo, Callable[[], Iterator[Any]]]] = []
    for old in tensors:
        new = TensorInfo(old.name, old.shape, kinds.get(old.name, old.type))
        rows = partial(encoded_pieces, new, StoredRows(src, old))
        plan.append((new, rows if new.type != old.type else partial(copied, src, old)))
    with GgufStream(out, metadata, [tensor for tensor, _ in plan], progress) as stream:
        for tensor, pieces in plan:
            stream.write(tensor, pieces())
        return stream.finish(file_type)


def _kinds(tensors: list[TensorInfo], file_type: str, layers: int) -> dict[str, int]:
    names = {tensor.name for tensor in tensors}
    values = [t.name for t in tensors if t.name.endswith(("attn_v.weight", "attn_qkv.weight", "attn_kv_b.weight"))]
    kinds = {}
    for tensor in tensors:
        if tensor.type not in (F16, BF16) or len(tensor.shape) < 2 or any(part in tensor.name for part in KEPT):
            continue
        kind = FILE_TYPES[file_type].matrices
        if tensor.name == "output.weight" or (tensor.name == "token_embd.weight" and "output.weight" not in names):
            kind = Q8_0 if tensor.shape[-1] % BLOCKS[kind][0] else Q6_K
        elif tensor.name in values:
            kind = _value_kind(file_type, values.index(tensor.name), len(values))
        elif "ffn_down" in tensor.name:
            kind = _down_kind(file_type, serving_order(tensor.name)[0], layers)
        elif "attn_output.weight" in tensor.name and file_type == "q3_K_M":
            kind = Q4_K
        if tensor.shape[-1] % BLOCKS[kind][0]:
            kind = FALLBACK.get(kind, F16)
        kinds[tensor.name] = F16 if tensor.shape[-1] % BLOCKS[kind][0] else kind
    return kinds


def _more_bits(index: int, count: int) -> bool:
    return index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2


def _value_kind(file_type: str, index: int, count: int) -> int:
    if file_type == "q3_K_M":
        return Q5_K if index < 2 else Q4_K
    if file_type in ("q4_K_M", "q5_K_M") and _more_bits(index, count):
        return Q6_K
    return Q5_K if file_type == "q4_K_S" and index < 4 else FILE_TYPES[file_type].matrices


def _down_kind(file_type: str, layer: int, layers: int) -> int:
    if file_type == "q3_K_M":
        return Q5_K if layer < layers // 16 else Q4_K
    if file_type in ("q4_K_M", "q5_K_M") and _more_bits(layer, layers):
        return Q6_K
    return Q5_K if file_type == "q4_K_S" and layer < layers // 8 else FILE_TYPES[file_type].matrices
