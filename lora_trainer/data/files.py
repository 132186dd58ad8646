"""A data file as bytes, and a text's bytes in UTF-8, whatever encoding it was saved in."""

from __future__ import annotations

import codecs
from io import BytesIO
from pathlib import Path

from lora_trainer.data.encodings import codec_of, reads
from lora_trainer.data.layouts.file_row import BadFile
from lora_trainer.errors import DataError

BOM = codecs.BOM_UTF8
_PIECE = 1 << 20
_DATA_SUFFIXES = (".json", ".jsonl", ".ndjson", ".txt", ".csv", ".tsv", ".parquet")
_FEW = 3
"""Bad lines of a file whose others are ASCII, below which it is taken for damaged and not for another encoding."""


def read_bytes(path: Path) -> bytes:
    """Read a data file; raises DataError where it is missing (naming what lies there instead), unreadable or empty."""
    if not path.parent.is_dir():
        raise DataError("error.data.no_folder", folder=str(path.parent))
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        near = sorted(p.name for p in path.parent.iterdir() if p.suffix.lower() in _DATA_SUFFIXES and p.is_file())
        if near:
            raise DataError("error.data.no_file_near", file=str(path), found=", ".join(near[:10])) from error
        raise DataError("error.data.no_file", file=str(path)) from error
    except OSError as error:
        raise DataError("error.data.unreadable", file=str(path), reason=error.strerror or str(error)) from error
    if not data.removeprefix(BOM).strip():
        raise DataError("error.data.empty", file=str(path))
    return data


def as_utf8(data: bytes) -> tuple[bytes, str]:
    """A text in UTF-8 without its mark, and the codec that it was read by. Raises BadFile where it is no text.

    A few lines that aren't UTF-8 in a file that is stay as they are: they are told line by line.
    """
    codec = codec_of(data)
    if codec not in ("utf-8", "utf-8-sig") and _is_damaged_utf8(data):
        codec = "utf-8"
    if codec is None:
        raise BadFile(0, "data.fault.binary")
    if codec in ("utf-8", "utf-8-sig"):
        return data.removeprefix(BOM), codec
    decoder, text = codecs.getincrementaldecoder(codec)(), bytearray()
    # piece by piece: as one text, a file with one emoji in it takes several times its size
    for start in range(0, len(data), _PIECE):
        text += decoder.decode(data[start : start + _PIECE], final=start + _PIECE >= len(data)).encode()
    return bytes(text), codec


def _is_damaged_utf8(data: bytes) -> bool:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or data.count(0) > len(data) // 8:
        return False
    plain = wrong = right = 0
    for line in BytesIO(data):
        if line.isascii():
            plain += bool(line.strip(b"\0\r\n\t "))
        elif reads(line, "utf-8"):
            right += 1
        else:
            wrong += 1
    return wrong <= right or (wrong < _FEW and wrong < plain)
