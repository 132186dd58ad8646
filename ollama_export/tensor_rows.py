"""Rows of weights in float32, rounded once to the type that the GGUF keeps them in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from lora_trainer.errors import ConversionError
from ollama_export.gguf_format import F16, F32, Q8_0, TensorInfo

if TYPE_CHECKING:
    import numpy as np

PIECE = 1 << 18
"""Weights that are converted at a time: few enough for the processor's cache."""


class Rows(Protocol):
    """A weight whose rows (all but the last dimension, flattened) can be had one piece at a time."""

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop`, (stop - start, columns) float32; may be overwritten by the caller."""
        ...


def encoded_pieces(tensor: TensorInfo, weight: Rows) -> Iterator[np.ndarray]:
    """The data of `tensor`, piece by piece."""
    step = max(1, PIECE // tensor.shape[-1])
    for start in range(0, tensor.rows, step):
        yield round_rows(weight.rows(start, min(start + step, tensor.rows)), tensor.type, tensor.name)


def round_rows(rows: np.ndarray, kind: int, name: str) -> np.ndarray:
    """(n, columns) float32 -> the same rows as F32, F16, BF16 or Q8_0, bit for bit as llama.cpp rounds.

    Raises ConversionError where a weight is too large for F16.
    """
    import numpy as np

    rows = np.ascontiguousarray(rows, dtype=np.float32)
    if kind == F32:
        return rows
    if kind == F16:
        try:
            with np.errstate(over="raise"):
                return rows.astype(np.float16)
        except FloatingPointError as error:
            raise ConversionError("error.export.overflow", tensor=name) from error
    import gguf

    # BF16 and Q8_0 come from llama.cpp's own Python code
    return gguf.quants.quantize(rows, gguf.GGMLQuantizationType(kind))


def fitting_type(kind: int, columns: int) -> int:
    """`kind`, or F16 where the columns are no whole number of its blocks (as llama.cpp's converter does)."""
    return F16 if kind == Q8_0 and columns % 32 else kind
