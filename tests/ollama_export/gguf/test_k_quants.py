"""K-quants: which weights get how many bits, as llama-quantize gives them, and that the bits hold the weights.

The table is what llama_tensor_get_type_impl of llama.cpp's src/llama-quant.cpp gives without an importance matrix.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from file_formats.file_types import F16, F32, FILE_TYPES, Q3_K, Q4_K, Q5_K, Q6_K, Q8_0
from file_formats.gguf import TensorInfo
from ollama_export.gguf.k_quants import KEPT, Shape, mixed_types
from ollama_export.gguf.stream import GgufFile
from tests.ollama_server.gguf_file import Tensor, raw_pair, write_gguf
from tests.support.exports import export, tensors

LAYERS = 16
MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
MORE_BITS = (0, 1, 4, 7, 10, 13, 14, 15)
"""The first and the last eighth of 16 layers, and each third between them."""
ALL = tuple(range(LAYERS))
# file type: general.file_type, the type of most matrices, and what is otherwise in which layers
TABLE: dict[str, tuple[int, str, dict[str, dict[str, tuple[int, ...]]]]] = {
    "q4_0": (2, "Q4_0", {}),
    "q5_0": (8, "Q5_0", {}),
    "q3_K_M": (12, "Q3_K", {
        "attn_v": {"Q5_K": (0, 1), "Q4_K": ALL[2:]},
        "attn_output": {"Q4_K": ALL},
        "ffn_down": {"Q5_K": (0,), "Q4_K": ALL[1:]},
    }),
    "q4_K_S": (14, "Q4_K", {"attn_v": {"Q5_K": (0, 1, 2, 3)}, "ffn_down": {"Q5_K": (0, 1)}}),
    "q4_K_M": (15, "Q4_K", {"attn_v": {"Q6_K": MORE_BITS}, "ffn_down": {"Q6_K": MORE_BITS}}),
    "q5_K_S": (16, "Q5_K", {}),
    "q5_K_M": (17, "Q5_K", {"attn_v": {"Q6_K": MORE_BITS}, "ffn_down": {"Q6_K": MORE_BITS}}),
    "q6_K": (18, "Q6_K", {}),
}  # fmt: skip
ERROR = {"F16": 1e-3, "Q8_0": 0.01, "Q6_K": 0.03, "Q5_K": 0.06, "Q5_0": 0.07, "Q4_K": 0.12, "Q4_0": 0.14, "Q3_K": 0.25}
"""More of a normally distributed weight's size than a type of so many bits loses."""


def write_source(path: Path, matrices: tuple[str, ...] = MATRICES, *, tied: bool = False, columns: int = 256) -> Path:
    """A GGUF in 16 bits with the tensors of a model of 16 layers, a few rows each."""
    random = np.random.default_rng(0)
    names = [f"blk.{layer}.{matrix}" for layer in range(LAYERS) for matrix in matrices]
    names += ["token_embd"] + ([] if tied else ["output"])
    found = [
        Tensor(f"{name}.weight", (columns, 8), Kind.F16, random.normal(size=8 * columns).astype(np.float16).tobytes())
        for name in names
    ]
    found.append(Tensor("output_norm.weight", (columns,), Kind.F32, np.ones(columns, np.float32).tobytes()))
    pairs = [raw_pair("general.architecture", "qwen2"), raw_pair("qwen2.block_count", LAYERS)]
    pairs.append(raw_pair("tokenizer.ggml.tokens", ["<|im_end|>"]))
    with path.open("wb") as out:
        write_gguf([*pairs, raw_pair("general.file_type", 1)], found, out)
    return path


def info(name: str, columns: int = 256, rows: tuple[int, ...] = (8,), kind: int = F16) -> TensorInfo:
    """One tensor as it stands in the head of a GGUF."""
    return TensorInfo(f"{name}.weight", (*rows, columns), kind)


def quantized(source: Path, file_type: str) -> GgufFile:
    """The same weights in another type."""
    return export(source, source.with_name("out.gguf"), kind="gguf", file_type=file_type)


def kinds(path: Path) -> dict[str, str]:
    """Name without `.weight` -> type."""
    return {name.removesuffix(".weight"): tensor.tensor_type.name for name, tensor in tensors(path).items()}


def test_every_type_that_can_be_asked_for_stands_in_the_table() -> None:
    assert {name for name, row in FILE_TYPES.items() if not row.by_converter} == set(TABLE)


@pytest.mark.parametrize("file_type", TABLE)
def test_each_matrix_has_the_bits_that_llama_quantize_gives_it(tmp_path: Path, file_type: str) -> None:
    source = write_source(tmp_path / "f16.gguf")
    number, most, others = TABLE[file_type]
    made = quantized(source, file_type)
    expected = {f"blk.{layer}.{matrix}": most for layer in ALL for matrix in MATRICES}
    for matrix, by_kind in others.items():
        expected |= {f"blk.{layer}.{matrix}": kind for kind, layers in by_kind.items() for layer in layers}
    expected |= {"token_embd": most, "output": "Q6_K", "output_norm": "F32"}
    assert kinds(made.path) == expected
    assert gguf.GGUFReader(made.path).fields["general.file_type"].contents() == number
    before = tensors(source)
    for name, tensor in tensors(made.path).items():
        exact = np.array(before[name].data, np.float32)
        found = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(exact.shape)
        lost = np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2))
        assert lost < ERROR.get(tensor.tensor_type.name, 1e-9), name


def test_an_embedding_that_is_the_output_too_has_the_outputs_bits(tmp_path: Path) -> None:
    made = quantized(write_source(tmp_path / "f16.gguf", tied=True), "q4_K_M")
    assert kinds(made.path)["token_embd"] == "Q6_K"


def test_one_matrix_for_queries_keys_and_values_has_the_values_bits(tmp_path: Path) -> None:
    matrices = ("attn_qkv", "attn_output", "ffn_up", "ffn_down")
    made = quantized(write_source(tmp_path / "f16.gguf", matrices), "q4_K_M")
    found = kinds(made.path)
    assert [layer for layer in ALL if found[f"blk.{layer}.attn_qkv"] == "Q6_K"] == list(MORE_BITS)
    assert {found[f"blk.{layer}.attn_qkv"] for layer in ALL} == {"Q4_K", "Q6_K"}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (96, {"q3_K_M": ("Q4_0", "Q8_0"), "q4_K_M": ("Q5_0", "Q8_0"), "q5_K_M": ("Q5_1", "Q8_0"),
              "q6_K": ("Q8_0", "Q8_0"), "q5_0": ("Q5_0", "Q8_0")}),
        (48, {"q4_K_M": ("F16", "F16")}),
    ],
)  # fmt: skip
def test_rows_of_no_whole_number_of_blocks_get_a_type_of_smaller_ones_or_stay_in_16_bits(
    tmp_path: Path, columns: int, expected: dict[str, tuple[str, str]]
) -> None:
    source = write_source(tmp_path / "f16.gguf", ("attn_q",), columns=columns)
    for file_type, (most, output) in expected.items():
        found = kinds(quantized(source, file_type).path)
        assert (found["blk.0.attn_q"], found["output"]) == (most, output), file_type


DENSE = Shape("qwen2", LAYERS, 0, shares_values=True)


def test_eight_experts_have_the_attention_in_8_bits_and_layers_by_their_names() -> None:
    names = [f"blk.{layer}.{part}" for layer in ALL for part in ("attn_v", "attn_k", "attn_output", "attn_q")]
    experts = [info(f"blk.{layer}.ffn_down_exps", rows=(8, 8)) for layer in ALL if layer % 2]
    found = mixed_types([*map(info, names), *experts], "q4_K_M", Shape("llama", LAYERS, 8, shares_values=True))
    kinds = {part: {found[f"blk.{layer}.{part}.weight"] for layer in ALL} for part in ("attn_v", "attn_k", "attn_q")}
    assert kinds == {"attn_v": {Q8_0}, "attn_k": {Q8_0}, "attn_q": {Q4_K}}
    assert {found[f"blk.{layer}.attn_output.weight"] for layer in ALL} == {Q5_K}
    down = {layer for layer in ALL if layer % 2 and found[f"blk.{layer}.ffn_down_exps.weight"] == Q6_K}
    assert down == set(MORE_BITS) & set(range(1, LAYERS, 2))


def test_without_experts_the_layers_that_have_such_a_matrix_are_counted() -> None:
    found = mixed_types([info(f"blk.{layer}.ffn_down") for layer in (3, 7, 9)], "q4_K_S", DENSE)
    assert list(found.values()) == [Q5_K, Q5_K, Q4_K]


def test_a_layer_that_is_quantised_already_is_counted_all_the_same() -> None:
    # a base model in 8 bits, of whose layers only the last has a delta
    parts = [f"blk.{layer}.{part}" for part in ("attn_v", "ffn_down") for layer in range(16)]
    tensors = [info(part, kind=F16 if part.startswith("blk.15.") else Q8_0) for part in parts]
    assert mixed_types(tensors, "q4_K_S", DENSE) == {"blk.15.attn_v.weight": Q4_K, "blk.15.ffn_down.weight": Q4_K}


@pytest.mark.parametrize(
    ("architecture", "layers", "shares", "more"),
    [("llama", 80, True, True), ("llama", 80, False, False), ("qwen2", 80, False, True), ("qwen3", 80, True, False)],
)
def test_the_values_of_70_billion_have_more_bits(architecture: str, layers: int, shares: bool, more: bool) -> None:
    shape = Shape(architecture, layers, 0, shares_values=shares)
    found = mixed_types([info(f"blk.{layer}.attn_v") for layer in range(layers)], "q4_K_M", shape)
    assert (Q4_K not in found.values()) is more and Q6_K in found.values()
    assert set(mixed_types([info("blk.0.attn_q"), info("blk.0.attn_v")], "q3_K_M", shape).values()) == {Q3_K, Q5_K}


def test_falcon_has_bits_of_its_own() -> None:
    shape = Shape("falcon", 32, 0, shares_values=True)
    down = mixed_types([info(f"blk.{layer}.ffn_down") for layer in range(32)], "q4_K_M", shape)
    assert list(down.values())[:5] == [Q6_K, Q6_K, Q5_K, Q5_K, Q4_K]
    assert mixed_types([info("output")], "q4_K_M", shape) == {"output.weight": Q8_0}
    assert mixed_types([info("blk.0.attn_output")], "q3_K_M", shape) == {"blk.0.attn_output.weight": Q3_K}


def test_what_is_small_or_a_vector_or_quantised_already_stays() -> None:
    kept = [info(f"blk.0.{part.removesuffix('.weight').strip('.')}") for part in KEPT]
    kept += [info("blk.0.attn_v", kind=Q8_0), info("blk.0.attn_q", rows=(1,)), info("blk.0.norm", rows=())]
    kept.append(TensorInfo("blk.0.attn_q.bias", (8, 256), F32))
    assert mixed_types(kept, "q4_K_M", DENSE) == {}
    assert mixed_types([info("blk.0.attn_q", kind=F32)], "q4_K_M", DENSE) == {"blk.0.attn_q.weight": Q4_K}


def test_embeddings_of_every_layer_are_the_output_too_where_there_is_none() -> None:
    pair = [info("token_embd"), info("per_layer_token_embd")]
    assert set(mixed_types(pair, "q4_K_M", DENSE).values()) == {Q6_K}
    assert set(mixed_types([*pair, info("output")], "q4_K_M", DENSE).values()) == {Q4_K, Q6_K}
