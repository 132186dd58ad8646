"""Quantising as llama-quantize does it for the types that Ollama offers (no importance matrix)."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType as Kind
from gguf import LlamaFileType

from .gguf_file import Gguf, Tensor

FILE_TYPES = {
    "F32": LlamaFileType.ALL_F32,
    "F16": LlamaFileType.MOSTLY_F16,
    "BF16": LlamaFileType.MOSTLY_BF16,
    "Q8_0": LlamaFileType.MOSTLY_Q8_0,
    "Q4_K_S": LlamaFileType.MOSTLY_Q4_K_S,
    "Q4_K_M": LlamaFileType.MOSTLY_Q4_K_M,
    "Q4_K": LlamaFileType.MOSTLY_Q4_K_M,
}
PLAIN = {
    LlamaFileType.ALL_F32: Kind.F32,
    LlamaFileType.MOSTLY_F16: Kind.F16,
    LlamaFileType.MOSTLY_BF16: Kind.BF16,
    LlamaFileType.MOSTLY_Q8_0: Kind.Q8_0,
}
# What a K-type becomes where a row is no multiple of 256.
SHORT_ROWS = {Kind.Q4_K: Kind.Q5_0, Kind.Q5_K: Kind.Q5_1, Kind.Q6_K: Kind.Q8_0}


def file_type_name(file_type: int) -> str:
    try:
        name = LlamaFileType(file_type).name
    except ValueError:
        return "unknown"
    return "unknown" if name == "GUESSED" else name.removeprefix("MOSTLY_").removeprefix("ALL_")


def quantized_tensors(source: Gguf, file_type: LlamaFileType) -> list[Tensor]:
    layers = int(source.values.get(f"{source.architecture}.block_count", 0))
    tied = not any(tensor.name == "output.weight" for tensor in source.tensors)
    return [_convert(tensor, _wanted(tensor, file_type, layers, tied)) for tensor in source.tensors]


def _wanted(tensor: Tensor, file_type: LlamaFileType, layers: int, tied: bool) -> Kind:
    """The type that llama.cpp chooses for a tensor (llama_tensor_get_type)."""
    keeps = not tensor.name.endswith("weight") or len(tensor.shape) < 2 or "_norm.weight" in tensor.name
    if keeps or "ffn_gate_inp.weight" in tensor.name:
        return tensor.type
    if file_type in PLAIN:
        return PLAIN[file_type]
    kind = Kind.Q4_K
    medium = file_type == LlamaFileType.MOSTLY_Q4_K_M
    found = re.match(r"blk\.(\d+)\.", tensor.name)
    layer = int(found[1]) if found else 0
    more_bits = layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2
    if tensor.name == "output.weight" or (tied and tensor.name == "token_embd.weight"):
        kind = Kind.Q6_K
    elif "attn_v.weight" in tensor.name:
        kind = (Kind.Q6_K if more_bits else kind) if medium else (Kind.Q5_K if layer < 4 else kind)
    elif "ffn_down" in tensor.name:
        kind = (Kind.Q6_K if more_bits else kind) if medium else (Kind.Q5_K if layer < layers // 8 else kind)
    return SHORT_ROWS[kind] if tensor.shape[0] % 256 else kind


def _convert(tensor: Tensor, kind: Kind) -> Tensor:
    if kind == tensor.type or (kind == Kind.Q8_0 and tensor.shape[0] % 32):
        return tensor
    return Tensor(tensor.name, tensor.shape, kind, _encode(_decode(tensor), kind, tensor.shape[0]))


def _decode(tensor: Tensor) -> np.ndarray[Any, Any]:
    data = tensor.read()
    if tensor.type == Kind.F32:
        return np.frombuffer(data, np.float32)
    if tensor.type == Kind.F16:
        return np.frombuffer(data, np.float16).astype(np.float32)
    return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)


def _encode(values: np.ndarray[Any, Any], kind: Kind, row: int) -> bytes:
    if kind == Kind.F32:
        return values.tobytes()
    if kind == Kind.F16:
        return values.astype(np.float16).tobytes()
    if kind == Kind.BF16:
        bits = values.view(np.uint32)
        # Round to nearest, ties to even.
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).tobytes()
    from libgguf import quantize_rows_raw

    return bytes(quantize_rows_raw(kind, np.ascontiguousarray(values), len(values) // row, row))
