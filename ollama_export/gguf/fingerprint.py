"""What a weight is known by, whatever type it is rounded to: its norm, and its projection on a fixed wave.

A base model that was replaced, or a delta that was added twice, gives a GGUF that proves right in every prompt. The
norm hardly sees a small delta, which stands nearly at a right angle to the weight; the projection changes by a fair
share of the delta's own size.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

TOLERANCE = 2e-5
"""Of a norm: sums of thousands of products in float32 (6e-8 each) in another order, as another processor takes them."""


class Fingerprint:
    """Gathers one weight's, whose rows come in pieces, in any order and from any thread."""

    def __init__(self) -> None:
        self._squares = self._along = 0.0
        self._lock = threading.Lock()

    def __call__(self, start: int, rows: np.ndarray) -> None:
        """Add rows (n, columns) in float32, the first of which is number `start`."""
        import numpy as np

        flat = np.ravel(rows)
        squares = float(flat @ flat)
        columns = np.cos(0.7 * np.arange(rows.shape[-1])).astype(np.float32)
        along = float(np.cos(1.3 * np.arange(start, start + len(rows))) @ (rows @ columns))
        with self._lock:
            self._squares += squares
            self._along += along

    def value(self) -> tuple[float, float]:
        """(norm, projection): the latter is twice the sum of w[i, j] cos(1.3 i) cos(0.7 j), which for a weight of
        random numbers is as large as its norm, more or less.
        """
        return float(f"{math.sqrt(self._squares):.8g}"), float(f"{2 * self._along:.8g}")


def other_weights(
    known: Mapping[str, Sequence[float]], found: Mapping[str, Sequence[float]], *, same_order: bool
) -> list[str]:
    """The names of those that both know, and that aren't the same; `same_order`: their rows stand in the same order."""
    differ = []
    for name in sorted(known.keys() & found.keys()):
        (norm, along), (other_norm, other_along) = known[name], found[name]
        most = TOLERANCE * norm
        if abs(norm - other_norm) > most or (same_order and abs(along - other_along) > most):
            differ.append(name)
    return differ
