"""Which weights get how many bits in a file of K-quants: llama.cpp's own mix of types by layer, no importance matrix.

Follows src/llama-quant.cpp of llama.cpp: tensor_allows_quantization, llama_tensor_get_type_impl and
tensor_type_fallback, for the file types that `--quantize` offers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, TypeVar

from file_formats.file_types import BF16, BLOCKS, F16, F32, FILE_TYPES, Q3_K, Q4_0, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0
from file_formats.gguf import TensorInfo, serving_order

FLOATS = (F32, F16, BF16)
FALLBACK = {Q3_K: Q4_0, Q4_K: Q5_0, Q5_K: Q5_1, Q6_K: Q8_0}
"""For rows that are no whole number of 256 weights (tensor_type_fallback)."""
KEPT = (
    "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel", "per_layer_model_proj",
    "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight", "indexer.q_proj.weight", "attn_rel_b.weight",
    "time_mix_first.weight", "time_mix_w0.weight", "time_mix_w1.weight", "time_mix_w2.weight", "time_mix_v0.weight",
    "time_mix_v1.weight", "time_mix_v2.weight", "time_mix_a0.weight", "time_mix_a1.weight", "time_mix_a2.weight",
    "time_mix_g1.weight", "time_mix_g2.weight", "time_mix_decay_w1.weight", "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight", "position_embd", "token_types",
)  # fmt: skip
"""Parts of the names of matrices that are never quantised (tensor_allows_quantization; those of text models)."""
S = TypeVar("S")
EMBEDDINGS = ("token_embd.weight", "per_layer_token_embd.weight")
VALUES = ("attn_v.weight", "attn_qkv.weight", "attn_kv_b.weight")


@dataclass(frozen=True)
class Shape:
    """What of a model decides the mix; of its GGUF's metadata."""

    architecture: str
    layers: int
    experts: int
    shares_values: bool
    """Fewer heads of values than of queries."""

    @classmethod
    def read(cls, get: Callable[[str, Any], Any]) -> Shape:
        """Of the metadata that `get(key, default)` reads."""
        architecture = str(get("general.architecture", ""))
        number = lambda name, default=0: get(f"{architecture}.{name}", default)  # noqa: E731
        heads = number("attention.head_count")
        return cls(
            architecture,
            number("block_count"),
            number("expert_count"),
            number("attention.head_count_kv", heads) != heads,
        )

    @property
    def is_70b(self) -> bool:
        """What llama.cpp calls LLM_TYPE_70B: eight heads of queries share those of values, which get more bits."""
        layers = {"llama": 80 if self.shares_values else None, "qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}
        return self.layers > 0 and layers.get(self.architecture) == self.layers


def is_installed() -> bool:
    """Whether there is a quantizer here (libgguf: llama.cpp's own row functions); it has no wheel for Linux on ARM."""
    return find_spec("libgguf") is not None


def mixed(plan: Sequence[tuple[TensorInfo, S]], file_type: str, shape: Shape) -> list[tuple[TensorInfo, S]]:
    """A plan in floats with the types of `mixed_types`."""
    kinds = mixed_types([tensor for tensor, _ in plan], file_type, shape)
    return [(replace(tensor, type=kinds.get(tensor.name, tensor.type)), source) for tensor, source in plan]


def mixed_types(tensors: Sequence[TensorInfo], file_type: str, shape: Shape) -> dict[str, int]:
    """Name -> ggml's type number, for those of `tensors` that a file of type `file_type` quantises.

    `tensors` are all of the model's, with the types that they have before: what is quantised already stays, and counts
    among the layers all the same.
    """
    ordered = sorted(tensors, key=lambda tensor: serving_order(tensor.name))
    names = {tensor.name for tensor in ordered}
    values = sum(any(part in name for part in VALUES) for name in names)
    seen = {"value": 0, "down": 0}
    kinds = {}
    for tensor in ordered:
        if not _may_be_quantised(tensor):
            continue
        name, kind = tensor.name, FILE_TYPES[file_type].matrices
        if name == "output.weight" or (name in EMBEDDINGS and "output.weight" not in names):
            falls_back = shape.architecture == "falcon" or tensor.shape[-1] % BLOCKS[kind][0]
            kind = Q8_0 if falls_back or kind == Q8_0 else Q6_K
        elif name in EMBEDDINGS:
            pass
        elif any(part in name for part in VALUES):
            kind = _value_kind(file_type, seen["value"], values, shape)
            seen["value"] += 1
        elif "attn_k.weight" in name:
            kind = Q8_0 if shape.experts == 8 else kind
        elif "ffn_down" in name:
            # with experts the layer is read off the name, else those before are counted
            layer = serving_order(name)[0] if shape.experts > 1 else seen["down"]
            kind = _down_kind(file_type, layer, shape)
            seen["down"] += 1
        elif "attn_output.weight" in name and shape.architecture != "falcon":
            if shape.experts == 8:
                kind = Q5_K if file_type in ("q3_K_M", "q4_K_S", "q4_K_M") else kind
            elif file_type == "q3_K_M":
                kind = Q4_K
        if tensor.type in FLOATS:
            kinds[name] = _fitting(kind, tensor.shape[-1])
    return kinds


def _may_be_quantised(tensor: TensorInfo) -> bool:
    # ggml doesn't count outer dimensions of one
    dimensions = len(tensor.shape) - next((i for i, n in enumerate(tensor.shape) if n > 1), len(tensor.shape))
    return dimensions > 1 and tensor.name.endswith("weight") and not any(part in tensor.name for part in KEPT)


def _fitting(kind: int, columns: int) -> int:
    """`kind`, or the type of smaller blocks that rows of so many weights fall back to."""
    if columns % BLOCKS[kind][0]:
        kind = FALLBACK.get(kind, F16)
    return F16 if columns % BLOCKS[kind][0] else kind


def _more_bits(index: int, count: int) -> bool:
    return index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2


def _value_kind(file_type: str, index: int, count: int, shape: Shape) -> int:
    kind = FILE_TYPES[file_type].matrices
    if file_type == "q3_K_M":
        kind = Q5_K if index < 2 else Q4_K
    elif file_type in ("q4_K_M", "q5_K_M") and _more_bits(index, count):
        kind = Q6_K
    elif file_type == "q4_K_S" and index < 4:
        kind = Q5_K
    if shape.is_70b and kind in (Q3_K, Q4_K):
        kind = Q5_K
    return Q8_0 if shape.experts == 8 else kind


def _down_kind(file_type: str, layer: int, shape: Shape) -> int:
    kind, layers, falcon = FILE_TYPES[file_type].matrices, shape.layers, shape.architecture == "falcon"
    more = _more_bits(layer, layers)
    if file_type == "q3_K_M":
        return Q5_K if layer < layers // 16 else Q4_K if not falcon or more else Q3_K
    if file_type == "q4_K_M" and falcon:
        return Q6_K if layer < layers // 16 else Q5_K if more else Q4_K
    if file_type in ("q4_K_M", "q5_K_M") and more:
        return Q6_K
    return Q5_K if file_type == "q4_K_S" and not falcon and layer < layers // 8 else kind
