"""Rows of weights in float32, rounded once to the type that the GGUF keeps them in."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from file_formats.file_types import BF16, F16, F32, Q8_0
from file_formats.gguf import TensorInfo
from lora_trainer.errors import ConversionError
from ollama_export.gguf.row_functions import quantize_rows

if TYPE_CHECKING:
    import numpy as np

QUICK = (F32, F16, BF16, Q8_0)
"""Types that a weight is rounded to as fast as it is read; the others search for the best scale of each block."""
PIECE = 1 << 18
"""Weights that are converted at a time: few enough for the processor's cache."""
F16_OVERFLOW = 65520.0
"""The smallest number that rounds to infinity: half a step above 65504, the largest of IEEE 754's binary16."""


Hear = Callable[[int, "np.ndarray"], None]


class Rows(Protocol):
    """A weight whose rows (all but the last dimension, flattened) can be had one piece at a time."""

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop`, (stop - start, columns) float32; may be overwritten by the caller."""
        ...


def encoded_pieces(tensor: TensorInfo, weight: Rows, hear: Hear | None = None) -> Iterator[np.ndarray]:
    """The data of `tensor`, piece by piece, on all processors where that takes long.

    `hear` is given the number of each piece's first row and its rows in float32, in any thread.
    Raises ConversionError as `round_rows` does.
    """

    def encoded(start: int) -> np.ndarray:
        rows = weight.rows(start, min(start + step, tensor.rows))
        if hear is not None:
            hear(start, rows)
        return round_rows(rows, tensor.type, tensor.name)

    step = max(1, PIECE // tensor.shape[-1])
    starts = range(0, tensor.rows, step)
    processors = _processors()
    if tensor.type in QUICK or processors == 1:
        yield from map(encoded, starts)
        return
    with ThreadPoolExecutor(processors) as pool:
        # as many in work as keep everybody busy: what waits to be written takes memory
        ahead: deque[Future[np.ndarray]] = deque()
        for start in starts:
            ahead.append(pool.submit(encoded, start))
            if len(ahead) > 2 * processors:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def round_rows(rows: np.ndarray, kind: int, name: str) -> np.ndarray:
    """(n, columns) float32 -> the same rows in the type `kind`, bit for bit as llama.cpp rounds (by its own code).

    Raises ConversionError where a weight is too large for F16.
    """
    import numpy as np

    rows = np.ascontiguousarray(rows, dtype=np.float32)
    if kind == F32:
        return rows
    if kind == F16:
        if max(rows.max(), -rows.min()) >= F16_OVERFLOW:
            raise ConversionError("error.export.overflow", tensor=name)
        # loaded where the converter is at work: four times as fast as numpy, the same bits
        torch = sys.modules.get("torch")
        return torch.from_numpy(rows).half().numpy() if torch else rows.astype(np.float16)
    if kind == BF16:
        import gguf

        return gguf.quants.quantize(rows, gguf.GGMLQuantizationType(kind))
    return quantize_rows(rows, kind)


def fitting_type(kind: int, columns: int) -> int:
    """`kind`, or F16 where the columns are no whole number of its blocks (as llama.cpp's converter does)."""
    return F16 if kind == Q8_0 and columns % 32 else kind
