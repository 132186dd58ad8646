"""Heads of safetensors files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from file_formats.errors import BrokenFile
from file_formats.safetensors import read_head


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
