"""A data file as bytes: is it there, is it UTF-8, is it one object a line?

What is wrong with a file as a whole is found here, as one fault with the way to mend it, so that it doesn't
become one fault for every line.
"""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

from lora_trainer.errors import DataError

BOM = codecs.BOM_UTF8
_BOMS = (
    (codecs.BOM_UTF32_LE, "UTF-32", "utf-32"),
    (codecs.BOM_UTF32_BE, "UTF-32", "utf-32"),
    (codecs.BOM_UTF16_LE, "UTF-16", "utf-16"),
    (codecs.BOM_UTF16_BE, "UTF-16", "utf-16"),
)
_PIECE = 1 << 20
_DATA_SUFFIXES = (".json", ".jsonl", ".ndjson", ".txt", ".csv")

Fault = tuple[int, str, dict[str, Any]]
"""Line (0 for the whole file), text key, values."""


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


def whole_file_fault(path: Path, data: bytes) -> Fault | None:
    """Find a wrong encoding, an array in place of lines, or objects that are spread over several lines."""
    return _encoding_fault(path, data) or _layout_fault(path, data)


def json_reason(error: Exception) -> tuple[str, int]:
    """Why a line is not JSON, and at which character (from 0)."""
    if isinstance(error, json.JSONDecodeError):
        return error.msg, error.pos
    # Not a syntax error: thousands of digits, or of brackets within brackets.
    return ("too deeply nested" if isinstance(error, RecursionError) else "number too long"), 0


def _encoding_fault(path: Path, data: bytes) -> Fault | None:
    found = next(((name, codec) for bom, name, codec in _BOMS if data.startswith(bom)), None)
    if not found:
        if _is(data, "utf-8") and data.count(0) <= len(data) // 8:
            return None
        lines = [line for line in data.split(b"\n") if not line.isascii()]
        wrong = sum(not _is(line, "utf-8") for line in lines)
        # JSONL begins with an ASCII bracket, so that its zero byte tells the byte order.
        byte_order = {b"{\0": "utf-16-le", b"[\0": "utf-16-le", b"\0{": "utf-16-be", b"\0[": "utf-16-be"}.get(data[:2])
        if byte_order and _is(data, byte_order):
            found = "UTF-16", byte_order
        elif data.count(0) > len(data) // 8 or (0 in data and wrong > 2):
            return 0, "data.fault.binary", {}
        elif wrong < 3 or wrong * 2 <= len(lines):
            return None  # some bad lines, each of which is named
        elif _is(data, "gb18030"):
            found = "GBK", "gb18030"
        else:
            found = "Windows-1252", "cp1252"
    old, new, twin = _names(path)
    command = f"open({new}, 'w', encoding='utf-8').write(open({old}, encoding={found[1]!r}).read())"
    return 0, "data.fault.encoding", {"encoding": found[0], "command": f'python -c "{command}"', "fixed": twin}


def _layout_fault(path: Path, data: bytes) -> Fault | None:
    start = data.removeprefix(BOM).lstrip()
    first, _, rest = start.partition(b"\n")
    if start[:1] not in (b"[", b"{") or (start[:1] == b"{" and _is_json(first)):
        return None
    text = data.decode("utf-8-sig", errors="replace")
    begin = len(text) - len(text.lstrip())
    try:
        value, end = json.JSONDecoder().raw_decode(text, begin)
    except json.JSONDecodeError as error:
        # A broken array: neither its first line nor the one after is JSON of its own.
        if (
            start[:1] == b"["
            and rest.strip()
            and not _is_json(first)
            and not _is_json(rest.lstrip().split(b"\n", 1)[0])
        ):
            return error.lineno, "data.fault.broken_array", {"reason": error.msg, "column": error.colno}
        return None
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list) and not text[end:].strip():
        old, new, twin = _names(path)
        command = (
            f"import json; rows = json.load(open({old}, encoding='utf-8-sig')); open({new}, 'w', encoding='utf-8')"
            ".writelines(json.dumps(row, ensure_ascii=False) + '\\n' for row in rows)"
        )
        return 0, "data.fault.array", {"rows": len(value), "command": f'python -c "{command}"', "fixed": twin}
    if isinstance(value, dict) and "\n" in text[begin:end]:
        line = text.count("\n", 0, begin) + 1
        return line, "data.fault.spread", {"last": line + text.count("\n", begin, end)}
    return None


def _names(path: Path) -> tuple[str, str, str]:
    """The file and its mended twin as Python literals for a command in double quotes, and the twin's plain name."""
    twin = path.with_suffix(".fixed.jsonl").as_posix()
    old, new = ("'" + name.replace("\\", "\\\\").replace("'", "\\'") + "'" for name in (path.as_posix(), twin))
    return old, new, twin


def _is(data: bytes, codec: str) -> bool:
    decoder = codecs.getincrementaldecoder(codec)()
    try:
        # piece by piece: as one text, a file with one emoji in it takes several times its size
        for start in range(0, len(data), _PIECE):
            decoder.decode(data[start : start + _PIECE], final=start + _PIECE >= len(data))
    except UnicodeDecodeError:
        return False
    return True


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return False
    return True
