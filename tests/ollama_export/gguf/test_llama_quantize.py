"""The type of every tensor is the one that llama.cpp's own tool gave it.

llama_quantize_types.json was recorded by `python -m bench.llama_quantize LLAMA_QUANTIZE --record FILE`, of models of
real architectures made by llama.cpp's converter; their bytes were the same then, too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gguf import GGMLQuantizationType as Kind

from file_formats.file_types import F16, FILE_TYPES
from file_formats.gguf import TensorInfo
from ollama_export.gguf.k_quants import Shape, mixed_types

RECORD = json.loads(Path(__file__).with_name("llama_quantize_types.json").read_text(encoding="utf-8"))


def unfolded(by_name: dict[str, str], layers: int) -> dict[str, str]:
    """`blk.*.NAME` stands for that matrix of every layer: a value for all of them, or one for each."""
    found = {}
    for name, value in by_name.items():
        if "*" in name:
            values = value.split() if " " in value else [value] * layers
            found |= {name.replace("*", str(layer)): one for layer, one in zip(range(layers), values, strict=True)}
        else:
            found[name] = value
    return found


@pytest.mark.parametrize("model", RECORD)
def test_every_matrix_has_the_type_that_llama_quantize_gave_it(model: str) -> None:
    record: dict[str, Any] = RECORD[model]
    metadata = record["metadata"]
    layers = metadata[f"{metadata['general.architecture']}.block_count"]
    shapes = unfolded(record["matrices"], layers)
    tensors = [TensorInfo(name, tuple(map(int, shape.split("x"))), F16) for name, shape in shapes.items()]
    shape = Shape.read(metadata.get)
    for file_type, expected in record["types"].items():
        kinds = mixed_types(tensors, file_type, shape)
        found = {name: Kind(kinds.get(name, F16)).name for name in shapes}
        assert found == unfolded(expected, layers), file_type


def test_what_is_offered_was_recorded_for_rows_of_every_kind() -> None:
    offered = {name for name, row in FILE_TYPES.items() if row.offered and not row.by_converter}
    assert all(offered == record["types"].keys() for record in RECORD.values())
    columns = {int(shape.split("x")[-1]) for record in RECORD.values() for shape in record["matrices"].values()}
    assert {576, 896, 1536} <= columns
    assert any("output.weight" in record["matrices"] for record in RECORD.values())
    assert any("output.weight" not in record["matrices"] for record in RECORD.values())
