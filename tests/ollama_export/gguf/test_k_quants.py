"""K-quants: which weights get how many bits, as llama-quantize gives them, and that the bits hold the weights.

The table is what llama_tensor_get_type_impl of llama.cpp's src/llama-quant.cpp gives without an importance matrix.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from file_formats.file_types import FILE_TYPES
from ollama_export.gguf.k_quants import quantize_gguf
from tests.ollama_server.gguf_file import Tensor, raw_pair, write_gguf
from tests.support.exports import tensors

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
    with path.open("wb") as out:
        write_gguf([*pairs, raw_pair("general.file_type", 1)], found, out)
    return path


def kinds(path: Path) -> dict[str, str]:
    """Name without `.weight` -> type."""
    return {name.removesuffix(".weight"): tensor.tensor_type.name for name, tensor in tensors(path).items()}


def test_every_type_that_can_be_asked_for_stands_in_the_table() -> None:
    assert {name for name, row in FILE_TYPES.items() if not row.streamed} == set(TABLE)


@pytest.mark.parametrize("file_type", TABLE)
def test_each_matrix_has_the_bits_that_llama_quantize_gives_it(tmp_path: Path, file_type: str) -> None:
    source = write_source(tmp_path / "f16.gguf")
    number, most, others = TABLE[file_type]
    made = quantize_gguf(source, tmp_path / "out.gguf", file_type)
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
    made = quantize_gguf(write_source(tmp_path / "f16.gguf", tied=True), tmp_path / "out.gguf", "q4_K_M")
    assert kinds(made.path)["token_embd"] == "Q6_K"


def test_one_matrix_for_queries_keys_and_values_has_the_values_bits(tmp_path: Path) -> None:
    matrices = ("attn_qkv", "attn_output", "ffn_up", "ffn_down")
    made = quantize_gguf(write_source(tmp_path / "f16.gguf", matrices), tmp_path / "out.gguf", "q4_K_M")
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
        found = kinds(quantize_gguf(source, tmp_path / "out.gguf", file_type).path)
        assert (found["blk.0.attn_q"], found["output"]) == (most, output), file_type
