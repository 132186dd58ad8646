"""The head of a safetensors file: names, types, shapes and places of its tensors, without the weights.

Format: https://huggingface.co/docs/safetensors (8 bytes of length, a JSON header, the tensors).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from file_formats.errors import BrokenFile


@dataclass(frozen=True)
class TensorEntry:
    """One tensor; `dtype` as the format writes it ("BF16"), its bytes are those from `start` to `end` of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class SafetensorsHead:
    """What stands before the weights."""

    raw: bytes
    """The JSON header as it stands in the file."""
    tensors: Mapping[str, TensorEntry]

    @property
    def size(self) -> int:
        """Bytes before the first tensor."""
        return 8 + len(self.raw)

    @property
    def parameters(self) -> int:
        """Weights in all tensors."""
        return sum(math.prod(entry.shape) for entry in self.tensors.values())


def read_head(path: Path) -> SafetensorsHead:
    """Read the head; raises BrokenFile where the file is none, or shorter or longer than its header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        # a git-lfs pointer, or the error page of a mirror, has no such length
        raw = file.read(length) if length < size else b""
    try:
        start = 8 + len(raw)
        tensors = {name: _entry(entry, start) for name, entry in json.loads(raw).items() if name != "__metadata__"}
        end = max((entry.end for entry in tensors.values()), default=start)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BrokenFile(path, f"no safetensors header: {error}") from error
    if size != end:
        raise BrokenFile(path, f"{size} bytes in place of {end}")
    return SafetensorsHead(raw, tensors)


def _entry(entry: Mapping[str, Any], start: int) -> TensorEntry:
    first, last = entry["data_offsets"]
    return TensorEntry(str(entry["dtype"]), tuple(map(int, entry["shape"])), start + int(first), start + int(last))
