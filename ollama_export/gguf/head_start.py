"""Weights for which rounding takes long, rounded while the converter reads the vocabulary.

The converter reads it on one processor for seconds, and nothing can be written before: its size decides where the
weights begin.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from file_formats.file_types import Q3_K, Q4_K, Q5_K, Q6_K
from file_formats.gguf import TensorInfo, serving_order
from ollama_export.gguf.fingerprint import Fingerprint
from ollama_export.gguf.from_folder import Source

SEARCHED = (Q3_K, Q4_K, Q5_K, Q6_K)
"""Types that search for the best scales of each block: a hundred times as long as it takes to read the weights."""
MOST = 48 << 20
"""Bytes that wait in memory at most."""


class HeadStart:
    """Rounds the first of the weights in another thread, until `stop`."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._begun: dict[TensorInfo, tuple[Future[list[Any]], Fingerprint]] = {}

    def begin(self, plan: Sequence[tuple[TensorInfo, Source]]) -> None:
        """Start on those of `plan` (as it will be written) that take long."""
        room = MOST
        for tensor, source in sorted(plan, key=lambda entry: serving_order(entry[0].name)):
            if tensor.type in SEARCHED and tensor.size <= room:
                room -= tensor.size
                heard = Fingerprint()
                self._begun[tensor] = self._pool.submit(_rounded, tensor, source, heard), heard

    def stop(self) -> None:
        """Wait for the weight that is at work, and leave the rest: from here on others may use the converter."""
        self._pool.shutdown(cancel_futures=True)
        self._begun = {tensor: begun for tensor, begun in self._begun.items() if not begun[0].cancelled()}

    def pieces(self, tensor: TensorInfo, source: Source) -> tuple[Iterable[Any], Fingerprint]:
        """The data of `tensor`, piece by piece, and what hears them: rounded already, or to be rounded now.

        Raises what `source` does.
        """
        if tensor in self._begun:
            future, heard = self._begun.pop(tensor)
            return future.result(), heard
        heard = Fingerprint()
        return source(tensor, heard), heard


def _rounded(tensor: TensorInfo, source: Source, heard: Fingerprint) -> list[Any]:
    pieces: Iterator[Any] = source(tensor, heard)
    return list(pieces)
