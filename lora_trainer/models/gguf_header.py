"""The header of a GGUF file: its metadata and its tensors' names and shapes, without the weights.

Format: ggml's docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class GgufHeader:
    """What stands before the weights."""

    metadata: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    """Tensor name -> shape, fastest-moving dimension first, as ggml has it."""

    @property
    def architecture(self) -> str:
        """llama.cpp's name of it, e.g. "qwen2"."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def parameters(self) -> int:
        """Weights in all tensors."""
        return sum(map(prod, self.shapes.values()))


def read_gguf_header(path: Path) -> GgufHeader:
    """Read the header; raises ValueError where the file is no GGUF, or ends inside its header."""
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ValueError("no GGUF magic")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _Reader(data).header()
            except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
                raise ValueError(f"broken GGUF header: {error}") from error


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.position = data, 4

    def header(self) -> GgufHeader:
        version, tensors, fields = self.unpack("IQQ")
        if version not in (2, 3):
            raise ValueError(f"GGUF version {version}")
        metadata = {}
        for _ in range(fields):
            key = self.string()
            metadata[key] = self.value(self.unpack("I")[0])
        shapes = {}
        for _ in range(tensors):
            name = self.string()
            shapes[name] = self.unpack(f"{self.unpack('I')[0]}Q")
            self.unpack("IQ")
        return GgufHeader(metadata, shapes)

    def unpack(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + form, self.data, self.position)
        self.position += struct.calcsize("<" + form)
        return values

    def string(self) -> str:
        (length,) = self.unpack("Q")
        text = self.data[self.position : self.position + length]
        if len(text) != length:
            raise IndexError("end of file")
        self.position += length
        # a vocabulary may hold bytes that are no UTF-8 text
        return text.decode("utf-8", errors="replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            inner, count = self.unpack("IQ")
            if inner in _SCALARS:
                return list(self.unpack(f"{count}{_SCALARS[inner]}"))
            return [self.value(inner) for _ in range(count)]
        return self.unpack(_SCALARS[kind])[0]


def quicken_reader() -> None:
    """Make gguf's own reader, which transformers uses too, cut plain arrays: a memmap's cuts take four times as long.

    It makes several for every token of the vocabulary, and a run reads its base model some four times.
    """
    import gguf
    import numpy

    def keep(reader: Any, name: str, value: Any) -> None:
        object.__setattr__(reader, name, value.view(numpy.ndarray) if name == "data" else value)

    gguf.GGUFReader.__setattr__ = keep
