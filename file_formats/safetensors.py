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


_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}  # fmt: skip
"""The format's type -> bits of a weight."""
_LONGEST = 100_000_000
"""Bytes of the longest header that the library reads."""
INDEX = "model.safetensors.index.json"


def weight_files(folder: Path) -> list[str]:
    """The names of the files that hold a model folder's weights, in order, whether or not they are there.

    Those that its index lists, else model.safetensors: what lies beside them is another model's, or a left-over.
    Raises BrokenFile for an index that is none.
    """
    index = folder / INDEX
    if not index.is_file():
        return ["model.safetensors"]
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        if not names or any(Path(name).name != name for name in names):
            raise ValueError(str(names))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BrokenFile(index, f"no list of files: {error}") from error
    return names


def read_head(path: Path) -> SafetensorsHead:
    """Read the head; raises BrokenFile where the file is none, or shorter or longer than its header says.

    As strict as the library, which refuses what isn't a dense row of tensors of known types.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        # a git-lfs pointer, or the error page of a mirror, has no such length
        raw = file.read(length) if length < min(size, _LONGEST) else b""
    try:
        start = 8 + len(raw)
        header = _parsed(raw)
        notes = header.pop("__metadata__", {})
        if not all(isinstance(text, str) for text in notes.values()):
            raise ValueError("__metadata__")
        tensors = {name: _entry(entry, start) for name, entry in header.items()}
        end = start
        for entry in sorted(tensors.values(), key=lambda entry: (entry.start, entry.end)):
            if entry.start != end:
                raise ValueError(f"a tensor begins at {entry.start} in place of {end}")
            end = entry.end
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BrokenFile(path, f"no safetensors header: {error}") from error
    if size != end:
        raise BrokenFile(path, f"{size} bytes in place of {end}")
    return SafetensorsHead(raw, tensors)


def _parsed(raw: bytes) -> dict[str, Any]:
    text = raw.decode("utf-8")
    if not text.startswith("{"):
        raise ValueError(repr(text[:20]))

    def unknown(constant: str) -> None:
        raise ValueError(constant)

    header = dict(json.loads(text, parse_constant=unknown))
    # half a surrogate pair is JSON to Python alone
    json.dumps(header, ensure_ascii=False).encode("utf-8")
    return header


def _entry(entry: Mapping[str, Any], start: int) -> TensorEntry:
    dtype, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in (*shape, first, last)):
        raise ValueError(f"{shape} at {first}, {last}")
    if math.prod(shape) * _BITS[dtype] != (last - first) * 8:
        raise ValueError(f"{shape} of {dtype} in {last - first} bytes")
    return TensorEntry(dtype, tuple(shape), start + first, start + last)
