"""The head of a GGUF file (metadata and list of tensors), read and written without touching a weight.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little endian.
Metadata values stay encoded (type number and value as they stand in the file), so that a copy is exact; they are
decoded where somebody asks for one.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from file_formats.errors import BrokenFile
from file_formats.file_types import BLOCKS

ALIGNMENT = "general.alignment"
"""The key that says to how many bytes tensor data are aligned: 32 where it is missing."""
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a GGUF: `shape` as numpy has it (rows first, the reverse of GGUF), `type` is ggml's number."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int = 0
    """Bytes from the beginning of the file (0 in a tensor that is yet to be written)."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, the last dimension."""
        block, size = BLOCKS[self.type]
        return self.shape[-1] // block * size

    @property
    def rows(self) -> int:
        """All dimensions but the last, multiplied."""
        return math.prod(self.shape[:-1])

    @property
    def size(self) -> int:
        """Bytes of the data, without padding."""
        return self.rows * self.row_bytes


@dataclass(frozen=True)
class GgufHead:
    """What stands before the weights."""

    metadata: dict[str, bytes]
    tensors: tuple[TensorInfo, ...]

    def get(self, key: str, default: Any = None) -> Any:
        """The decoded value of `key`."""
        return decode(self.metadata[key]) if key in self.metadata else default

    @property
    def architecture(self) -> str:
        """llama.cpp's name of it, e.g. "qwen2"."""
        return str(self.get("general.architecture", ""))

    @property
    def parameters(self) -> int:
        """Weights in all tensors."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)


def alignment_of(metadata: Mapping[str, bytes]) -> int:
    """To how many bytes tensor data are aligned; raises ValueError for what the format doesn't allow."""
    alignment = decode(metadata[ALIGNMENT]) if ALIGNMENT in metadata else 32
    if not isinstance(alignment, int) or alignment < 8 or alignment & (alignment - 1):
        raise ValueError(f"{ALIGNMENT} {alignment}")
    return alignment


def padded(size: int, alignment: int) -> int:
    """`size` rounded up to the alignment of tensor data."""
    return -(-size // alignment) * alignment


def encode(value: Any, kind: int, item_kind: int | None = None) -> bytes:
    """A metadata value with its type number in front; `item_kind` is the type of an array's items."""
    return struct.pack("<I", kind) + _encode(value, kind, item_kind)


def _encode(value: Any, kind: int, item_kind: int | None) -> bytes:
    if kind == STRING:
        text = value.encode("utf-8") if isinstance(value, str) else bytes(value)
        return struct.pack("<Q", len(text)) + text
    if kind != ARRAY:
        return struct.pack("<" + _FORMATS[kind], value)
    if item_kind is None:
        item_kind = 0 if isinstance(value, bytes) else _kind_of(value[0])
    head = struct.pack("<IQ", item_kind, len(value))
    if item_kind in _FORMATS:
        return head + struct.pack(f"<{len(value)}{_FORMATS[item_kind]}", *value)
    if item_kind == STRING:
        length = struct.Struct("<Q").pack
        texts = [item.encode("utf-8") if isinstance(item, str) else item for item in value]
        return head + b"".join([part for text in texts for part in (length(len(text)), text)])
    return head + b"".join(_encode(item, item_kind, None) for item in value)


def _kind_of(value: Any) -> int:
    kinds = {str: STRING, bytes: STRING, bytearray: STRING, list: ARRAY, float: FLOAT32, bool: BOOL}
    return kinds.get(type(value), INT32)


def decode(data: bytes) -> Any:
    """The value of an encoded metadata entry; an array becomes a list."""
    return _decode(data, 4, struct.unpack_from("<I", data)[0])[0]


def _decode(data: Any, at: int, kind: int) -> tuple[Any, int]:
    if kind == STRING:
        (length,) = struct.unpack_from("<Q", data, at)
        # a vocabulary may hold bytes that are no UTF-8 text
        return data[at + 8 : at + 8 + length].decode("utf-8", "replace"), at + 8 + length
    if kind in _FORMATS:
        (value,) = struct.unpack_from("<" + _FORMATS[kind], data, at)
        return value, at + struct.calcsize("<" + _FORMATS[kind])
    item_kind, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if item_kind in _FORMATS:
        layout = f"<{count}{_FORMATS[item_kind]}"
        return list(struct.unpack_from(layout, data, at)), at + struct.calcsize(layout)
    items = []
    for _ in range(count):
        item, at = _decode(data, at, item_kind)
        items.append(item)
    return items, at


def _skip(data: Any, at: int, kind: int) -> int:
    if kind == STRING:
        end: int = at + 8 + struct.unpack_from("<Q", data, at)[0]
        return end
    if kind in _FORMATS:
        return at + struct.calcsize("<" + _FORMATS[kind])
    item_kind, count = struct.unpack_from("<IQ", data, at)
    if item_kind in _FORMATS:
        return at + 12 + count * struct.calcsize("<" + _FORMATS[item_kind])
    at += 12
    for _ in range(count):
        at = _skip(data, at, item_kind)
    return at


_BROKEN = (ValueError, LookupError, struct.error, OverflowError, RecursionError, MemoryError)
"""What reading a file that isn't what it says may raise."""


def read_head(path: Path) -> GgufHead:
    """Metadata and tensors of the GGUF at `path`; raises BrokenFile when it isn't a whole GGUF, OSError as `open`."""
    with path.open("rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                head = _parse(data)
                end = max((t.offset + t.size for t in head.tensors), default=0)
                if end > len(data):
                    raise ValueError(f"{len(data)} of {end} bytes")
                return head
        except _BROKEN as error:
            raise BrokenFile(path, str(error)) from error


def _parse(data: Any) -> GgufHead:
    magic, version, tensor_count, count = struct.unpack_from("<4sIQQ", data)
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError(f"{magic!r} version {version}")
    at = 24
    metadata: dict[str, bytes] = {}
    for _ in range(count):
        key, at = _decode(data, at, STRING)
        (kind,) = struct.unpack_from("<I", data, at)
        end = _skip(data, at + 4, kind)
        if end > len(data):
            raise ValueError(f"{key} ends behind the file's end")
        metadata[key] = data[at:end]
        at = end
    found = []
    for _ in range(tensor_count):
        name, at = _decode(data, at, STRING)
        (dimensions,) = struct.unpack_from("<I", data, at)
        shape = struct.unpack_from(f"<{dimensions}Q", data, at + 4)
        kind, offset = struct.unpack_from("<IQ", data, at + 4 + 8 * dimensions)
        at += 16 + 8 * dimensions
        found.append((name, shape[::-1], kind, offset))
    unknown = {kind for _, _, kind, _ in found} - BLOCKS.keys()
    if unknown:
        raise ValueError(f"unknown tensor types {sorted(unknown)}")
    start = padded(at, alignment_of(metadata))
    tensors = tuple(TensorInfo(name, shape, kind, start + offset) for name, shape, kind, offset in found)
    return GgufHead(metadata, tensors)


def serving_order(name: str) -> tuple[int, bytes]:
    """Sort key of llama.cpp's quantize tool: tensors without a layer number, then by layer, names sorted within.

    Source: weight_name_comparer in llama.cpp's src/llama-model-loader.h.
    """
    layer = re.match(r"blk\.(\d+)", name)
    return (int(layer[1]) if layer else -1), name.encode("utf-8")


def write_head(metadata: Mapping[str, bytes], tensors: Iterable[TensorInfo]) -> bytes:
    """The bytes before the weights, padded; the data of `tensors` follow in the order given, each padded.

    The alignment is the one that the metadata tell.
    """
    listed, alignment = list(tensors), alignment_of(metadata)
    parts = [struct.pack("<4sIQQ", b"GGUF", 3, len(listed), len(metadata))]
    for key, value in metadata.items():
        parts += [_encode(key, STRING, None), value]
    offset = 0
    for tensor in listed:
        shape = _ggml_shape(tensor.shape)
        parts.append(_encode(tensor.name, STRING, None))
        parts.append(struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, tensor.type, offset))
        offset += padded(tensor.size, alignment)
    head = b"".join(parts)
    return head.ljust(padded(len(head), alignment), b"\0")


def _ggml_shape(shape: Sequence[int]) -> list[int]:
    # ggml counts dimensions up to the last that isn't 1 (ggml_n_dims), and its tools write so many
    dimensions = list(reversed(shape))
    while len(dimensions) > 1 and dimensions[-1] == 1:
        dimensions.pop()
    return dimensions
