"""gguf's own reader of GGUF files, which transformers reads base models with, without its slowest part."""

from __future__ import annotations

from typing import Any


def quicken_reader() -> None:
    """Make gguf's own reader, which transformers uses too, cut plain arrays: a memmap's cuts take four times as long.

    It makes several for every token of the vocabulary, and a run reads its base model some four times.
    """
    import gguf
    import numpy

    def keep(reader: Any, name: str, value: Any) -> None:
        object.__setattr__(reader, name, value.view(numpy.ndarray) if name == "data" else value)

    gguf.GGUFReader.__setattr__ = keep
