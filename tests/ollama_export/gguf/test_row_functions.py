"""Rows of weights in fewer bits: the same bytes, whichever package has llama.cpp's functions."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec

import numpy as np
import pytest

from file_formats.file_types import BLOCKS, Q3_K, Q4_0, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0
from ollama_export.gguf import row_functions
from ollama_export.gguf.row_functions import llama_cpp_function, quantize_rows

KINDS = (Q3_K, Q4_0, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0)


@pytest.fixture
def without_xllamacpp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_functions, "llama_cpp_function", lambda: None)


def rows_of_all_sorts() -> np.ndarray:
    """(96, 512): of usual size, zero, one number throughout, tiny, huge, and with one weight that sticks out."""
    rows = np.random.default_rng(0).standard_normal((96, 512), dtype=np.float32) * np.float32(0.02)
    rows[3], rows[5] = 0, 0.25
    rows[7] *= np.float32(1e-20)
    rows[9] *= np.float32(1e6)
    rows[11, 100] = 4
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_both_packages_give_the_same_bytes(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of_all_sorts()
    assert llama_cpp_function() is not None
    made = quantize_rows(rows, kind)
    block, size = BLOCKS[kind]
    assert made.shape == (96, 512 // block * size)
    monkeypatch.setattr(row_functions, "llama_cpp_function", lambda: None)
    assert np.array_equal(made, quantize_rows(rows, kind))


@pytest.mark.usefixtures("without_xllamacpp")
def test_eight_bits_need_no_package_but_gguf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libgguf", None)
    assert quantize_rows(rows_of_all_sorts(), Q8_0).shape == (96, 512 // 32 * 34)
    with pytest.raises(ImportError):
        quantize_rows(rows_of_all_sorts(), Q4_K)


@pytest.mark.parametrize("spec", [None, ModuleSpec("xllamacpp", None, origin="/nowhere/xllamacpp/__init__.py")])
def test_a_package_without_such_a_library_is_done_without(
    spec: ModuleSpec | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_functions, "find_spec", lambda name: spec if name == "xllamacpp" else None)
    assert llama_cpp_function.__wrapped__() is None
