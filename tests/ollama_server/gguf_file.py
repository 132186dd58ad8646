"""A GGUF file read to its last header byte, and written again as llama.cpp's quantize tool writes it.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType

SCALARS = {
    GGUFValueType.UINT8: "<B",
    GGUFValueType.INT8: "<b",
    GGUFValueType.UINT16: "<H",
    GGUFValueType.INT16: "<h",
    GGUFValueType.UINT32: "<I",
    GGUFValueType.INT32: "<i",
    GGUFValueType.FLOAT32: "<f",
    GGUFValueType.BOOL: "<?",
    GGUFValueType.UINT64: "<Q",
    GGUFValueType.INT64: "<q",
    GGUFValueType.FLOAT64: "<d",
}
FILE_TYPE, QUANTIZATION_VERSION = "general.file_type", "general.quantization_version"


class GgufError(Exception):
    """Not a readable GGUF file."""


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: tuple[int, ...]
    """As stored: the row length first."""
    type: GGMLQuantizationType
    content: tuple[Path, int] | bytes
    """Where in which file the data begin, or the data themselves."""

    @property
    def elements(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def size(self) -> int:
        """Bytes."""
        block, block_bytes = GGML_QUANT_SIZES[self.type]
        return self.elements // block * block_bytes

    def read(self) -> bytes:
        if isinstance(self.content, bytes):
            return self.content
        path, start = self.content
        with path.open("rb") as stream:
            stream.seek(start)
            return stream.read(self.size)


@dataclass
class Gguf:
    values: dict[str, Any] = field(default_factory=dict)
    raw: dict[str, bytes] = field(default_factory=dict)
    """Key -> the whole key-value pair as it stands in the file."""
    tensors: list[Tensor] = field(default_factory=list)

    @property
    def architecture(self) -> str:
        return str(self.values.get("general.architecture", "unknown"))

    @property
    def alignment(self) -> int:
        return int(self.values.get("general.alignment", 32))

    @property
    def chat_template(self) -> str:
        return str(self.values.get("tokenizer.chat_template", ""))

    @property
    def parameters(self) -> int:
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def file_type(self) -> int:
        """Ollama takes a missing or zero `general.file_type` (F32) for unknown: 1024."""
        return int(self.values.get(FILE_TYPE) or 1024)


class _Cursor:
    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> Any:
        try:
            (value,) = struct.unpack_from(form, self.data, self.at)
        except struct.error:
            raise GgufError("unexpected EOF") from None
        self.at += struct.calcsize(form)
        return value

    def string(self) -> str:
        length = self.take("<Q")
        if self.at + length > len(self.data):
            raise GgufError("unexpected EOF")
        text = self.data[self.at : self.at + length].decode("utf-8", "replace")
        self.at += length
        return text

    def value(self, kind: int) -> Any:
        if kind == GGUFValueType.STRING:
            return self.string()
        if kind == GGUFValueType.ARRAY:
            inner, count = self.take("<I"), self.take("<Q")
            if inner in SCALARS:
                form = f"<{count}{SCALARS[inner][1]}"
                if self.at + struct.calcsize(form) > len(self.data):
                    raise GgufError("unexpected EOF")
                items = list(struct.unpack_from(form, self.data, self.at))
                self.at += struct.calcsize(form)
                return items
            return [self.value(inner) for _ in range(count)]
        if kind not in SCALARS:
            raise GgufError(f"invalid type: {kind}")
        return self.take(SCALARS[GGUFValueType(kind)])


def read_gguf(path: Path) -> Gguf:
    """Raises GgufError where the header is broken or a tensor lies outside the file."""
    with path.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise GgufError("supplied file was not in GGUF format")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read(_Cursor(data), path)


def _read(cursor: _Cursor, path: Path) -> Gguf:
    cursor.at = 4
    version = cursor.take("<I")
    if version not in (2, 3):
        raise GgufError(f"unsupported GGUF version {version}")
    tensor_count, value_count = cursor.take("<Q"), cursor.take("<Q")
    result = Gguf()
    for _ in range(value_count):
        start = cursor.at
        key = cursor.string()
        result.values[key] = cursor.value(cursor.take("<I"))
        result.raw[key] = cursor.data[start : cursor.at]
    infos = []
    for _ in range(tensor_count):
        name, dimensions = cursor.string(), cursor.take("<I")
        if dimensions > 4:
            raise GgufError(f'tensor "{name}" dimensions {dimensions} exceeds maximum 4')
        shape = tuple(cursor.take("<Q") for _ in range(dimensions))
        infos.append((name, shape, GGMLQuantizationType(cursor.take("<I")), cursor.take("<Q")))
    begin = cursor.at + -cursor.at % result.alignment
    for name, shape, kind, offset in infos:
        tensor = Tensor(name, shape, kind, (path, begin + offset))
        end = begin + offset + tensor.size
        if end > len(cursor.data):
            raise GgufError(f'tensor "{name}" offset+size ({end}) exceeds file size ({len(cursor.data)})')
        result.tensors.append(tensor)
    return result


def quantize_order(tensor: Tensor) -> tuple[int, bytes]:
    """llama.cpp's order: tensors without a layer first, then layer by layer, sorted by name within."""
    layer = re.match(r"blk\.(\d+)\.", tensor.name)
    return (int(layer[1]) if layer else -1, tensor.name.encode())


def write_like_quantize(source: Gguf, tensors: Iterable[Tensor], file_type: int, out: BinaryIO) -> None:
    """Writes what llama-quantize writes: the source's values, the two it sets itself at the end, tensors ordered."""
    dropped = {FILE_TYPE, QUANTIZATION_VERSION, "split.no", "split.count", "split.tensors.count"}
    pairs = [raw for key, raw in source.raw.items() if key not in dropped]
    pairs += [raw_pair(QUANTIZATION_VERSION, 2), raw_pair(FILE_TYPE, file_type)]
    write_gguf(pairs, sorted(tensors, key=quantize_order), out, alignment=source.alignment)


def write_gguf(pairs: list[bytes], tensors: list[Tensor], out: BinaryIO, *, alignment: int = 32) -> None:
    """Version 3, everything in the given order."""
    header = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs))
    offset = 0
    for tensor in tensors:
        header += _string(tensor.name) + struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        header += struct.pack("<IQ", int(tensor.type), offset)
        offset += tensor.size + -tensor.size % alignment
    out.write(header + bytes(-len(header) % alignment))
    for tensor in tensors:
        out.write(tensor.read())
        out.write(bytes(-tensor.size % alignment))


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def raw_pair(key: str, value: str | bool | int | float | list[str]) -> bytes:
    """A key and its value as they stand in a file; ints are uint32, floats float32, lists are of texts."""
    if isinstance(value, list):
        head = struct.pack("<IIQ", int(GGUFValueType.ARRAY), int(GGUFValueType.STRING), len(value))
        return _string(key) + head + b"".join(map(_string, value))
    if isinstance(value, str):
        return _string(key) + struct.pack("<I", int(GGUFValueType.STRING)) + _string(value)
    if isinstance(value, bool):
        return _string(key) + struct.pack("<I?", int(GGUFValueType.BOOL), value)
    if isinstance(value, int):
        return _string(key) + struct.pack("<II", int(GGUFValueType.UINT32), value)
    return _string(key) + struct.pack("<If", int(GGUFValueType.FLOAT32), value)
