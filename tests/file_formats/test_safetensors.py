"""Heads of safetensors files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from file_formats.errors import BrokenFile
from file_formats.safetensors import INDEX, read_head, weight_files


def test_names_types_shapes_and_places_are_those_of_the_library(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensors = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.float16)}
    save_file(tensors, path, metadata={"format": "pt"})
    head = read_head(path)
    assert {name: (entry.dtype, entry.shape) for name, entry in head.tensors.items()} == {
        "a.weight": ("F32", (2, 3)),
        "b": ("F16", (4,)),
    }
    assert head.parameters == 10
    data = path.read_bytes()
    for name, entry in head.tensors.items():
        assert data[entry.start : entry.end] == tensors[name].tobytes()


def test_a_file_without_tensors_is_whole(tmp_path: Path) -> None:
    save_file({}, tmp_path / "empty.safetensors")
    assert read_head(tmp_path / "empty.safetensors").tensors == {}


def test_a_file_that_is_cut_or_too_long_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": np.ones(5, np.float32)}, path)
    whole = path.read_bytes()
    for content in [*(whole[:length] for length in range(len(whole))), whole + b"x"]:
        path.write_bytes(content)
        with pytest.raises(BrokenFile):
            read_head(path)


@pytest.mark.parametrize(
    "header",
    [
        b"version https://git-lfs.github.com/spec/v1",
        b"<html>404</html>",
        b"[1, 2]",
        b'{"a": 1}',
        b'{"a": {}}',
        b'{"\\ud83d": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
        b"[" * 5000,
        json.dumps({"a": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 4]}}).encode(),
    ],
)
def test_what_only_has_the_name_is_broken(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "model.safetensors"
    for content in (header, len(header).to_bytes(8, "little") + header + bytes(4)):
        path.write_bytes(content)
        with pytest.raises(BrokenFile):
            read_head(path)


GOOD = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def with_header(path: Path, header: object) -> Path:
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(16))
    return path


@pytest.mark.parametrize(
    "second",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]},
        {"dtype": "BF16", "shape": [2, 2], "data_offsets": [8, 16]},
        {"dtype": "F4", "shape": [16], "data_offsets": [8, 16]},
        {"dtype": "I64", "shape": [], "data_offsets": [8, 16]},
    ],
)
def test_a_dense_row_of_tensors_of_known_types_is_whole(tmp_path: Path, second: object) -> None:
    assert len(read_head(with_header(tmp_path / "model.safetensors", {**GOOD, "b": second})).tensors) == 2


@pytest.mark.parametrize(
    "second",
    [
        {"dtype": "F32", "shape": [3], "data_offsets": [4, 16]},
        {"dtype": "F32", "shape": [1], "data_offsets": [12, 16]},
        {"dtype": "F32", "shape": [4], "data_offsets": [8, 16]},
        {"dtype": "F33", "shape": [2], "data_offsets": [8, 16]},
        {"dtype": "F32", "shape": ["2"], "data_offsets": [8, 16]},
        {"dtype": "F32", "shape": [-1, -2], "data_offsets": [8, 16]},
        {"dtype": "F32", "shape": [2.0], "data_offsets": [8, 16]},
        {"dtype": "F32", "shape": [True, 2], "data_offsets": [8, 16]},
        {"dtype": "F32", "shape": [0, 1 << 70], "data_offsets": [8, 8]},
    ],
)
def test_a_head_that_the_library_would_refuse_is_broken(tmp_path: Path, second: object) -> None:
    path = with_header(tmp_path / "model.safetensors", {**GOOD, "b": second})
    with pytest.raises(BrokenFile):
        read_head(path)
    with pytest.raises(SafetensorError):
        load_file(path)


@pytest.mark.parametrize("notes", [{"format": 1}, ["pt"]])
def test_notes_that_are_no_texts_are_broken(tmp_path: Path, notes: object) -> None:
    path = with_header(tmp_path / "model.safetensors", {**GOOD, "b": {**GOOD["a"], "data_offsets": [8, 16]}})
    assert read_head(path).parameters == 4
    with_header(path, {"__metadata__": notes, **GOOD, "b": {**GOOD["a"], "data_offsets": [8, 16]}})
    with pytest.raises(BrokenFile):
        read_head(path)


@pytest.mark.parametrize(
    "index",
    ["[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": "../a.safetensors"}}', '{"weight_map": {"a": 1}}', "{"],
)
def test_an_index_that_names_no_files_beside_it_is_broken(tmp_path: Path, index: str) -> None:
    assert weight_files(tmp_path) == ["model.safetensors"]
    (tmp_path / INDEX).write_text(index, encoding="utf-8")
    with pytest.raises(BrokenFile):
        weight_files(tmp_path)
