"""One JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO

from lora_trainer.data.layouts.file_row import BadFile, FileRow, no_utf8
from lora_trainer.data.written import shown, trim


def rows_of_lines(data: bytes) -> Iterator[FileRow]:
    """The rows, line by line; blank ones are passed over."""
    for number, raw in enumerate(BytesIO(data), 1):
        try:
            # A BOM in the middle comes of files joined together.
            line = raw.decode("utf-8").removesuffix("\n").lstrip("\ufeff")
        except UnicodeDecodeError as error:
            yield no_utf8(number, raw.decode("utf-8", "surrogateescape"), len(raw[: error.start].decode("utf-8")))
            continue
        if not trim(line):
            continue
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason, at = json_reason(error)
            near = shown(line[max(0, at - 15) : at + 15])
            yield FileRow.bad(number, "data.fault.json", reason=reason, column=at + 1, near=near)
            continue
        yield FileRow(number, content)


def json_reason(error: Exception) -> tuple[str, int]:
    """Why a text is not JSON, and at which character (from 0)."""
    if isinstance(error, json.JSONDecodeError):
        return error.msg, error.pos
    # Not a syntax error: thousands of digits, or of brackets within brackets.
    return ("too deeply nested" if isinstance(error, RecursionError) else "number too long"), 0


def is_json(line: bytes) -> bool:
    """Whether a line is a JSON value of its own."""
    try:
        json.loads(line.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return False
    return True


def refuse_spread(data: bytes, begin: int) -> None:
    """Raise BadFile where the object that begins there goes over several lines."""
    end = data.find(b"\n", begin)
    if is_json(data[begin:] if end < 0 else data[begin:end]):
        return
    text = data.decode("utf-8", errors="replace")
    begin = len(data[:begin].decode("utf-8", errors="replace"))
    try:
        _, end = json.JSONDecoder().raw_decode(text, begin)
    except (ValueError, RecursionError):
        return
    if "\n" in text[begin:end]:
        line = text.count("\n", 0, begin) + 1
        raise BadFile(line, "data.fault.spread", last=line + text.count("\n", begin, end))
