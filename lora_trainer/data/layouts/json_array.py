"""One JSON array of rows."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterator

from lora_trainer.data.layouts.file_row import ESCAPED, BadFile, FileRow, Unit, no_utf8
from lora_trainer.data.layouts.json_lines import is_json, json_reason, rows_of_lines

_BLANK = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def rows_of_array(data: bytes, begin: int) -> tuple[Unit, Iterator[FileRow]]:
    """The rows of the array whose bracket stands there, counted by the lines where each begins one of its own.

    Lines that are JSON each by itself are read as such. Raises BadFile where an array breaks off or isn't written
    well: nobody knows then what its rows are.
    """
    text = data.decode("utf-8", "surrogateescape")
    begin = len(data[:begin].decode("utf-8", "surrogateescape"))
    try:
        starts = _starts(text, begin)
    except json.JSONDecodeError as error:
        first, _, rest = data[begin:].partition(b"\n")
        if not rest.strip() or is_json(first) or is_json(rest.lstrip().split(b"\n", 1)[0]):
            return "line", rows_of_lines(data)
        raise BadFile(error.lineno, "data.fault.broken_array", reason=error.msg, column=error.colno) from error
    lines = _lines(text, starts)
    unit: Unit = "line" if len(set(lines)) == len(lines) else "row"
    return unit, _rows(text, starts, lines if unit == "line" else array("q", range(1, len(starts) + 1)))


def _starts(text: str, begin: int) -> array[int]:
    """Where each row begins; raises JSONDecodeError where the text is no array. Nothing that is read is kept."""
    starts = array("q")
    at = _past_blanks(text, begin + 1)
    if text[at : at + 1] != "]":
        while True:
            starts.append(at)
            at = _past_blanks(text, _end(text, at))
            if text[at : at + 1] != ",":
                break
            at = _past_blanks(text, at + 1)
    if text[at : at + 1] != "]":
        raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
    rest = _past_blanks(text, at + 1)
    if rest < len(text):
        raise json.JSONDecodeError("Extra data", text, rest)
    return starts


def _past_blanks(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _end(text: str, at: int) -> int:
    try:
        return _DECODER.raw_decode(text, at)[1]
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise json.JSONDecodeError(json_reason(error)[0], text, at) from error


def _lines(text: str, starts: array[int]) -> array[int]:
    lines, line, before = array("q"), 1, 0
    for start in starts:
        line += text.count("\n", before, start)
        lines.append(line)
        before = start
    return lines


def _rows(text: str, starts: array[int], numbers: array[int]) -> Iterator[FileRow]:
    for start, number in zip(starts, numbers, strict=True):
        content, end = _DECODER.raw_decode(text, start)
        if wrong := ESCAPED.search(text, start, end):
            line = text.rfind("\n", 0, wrong.start()) + 1
            yield no_utf8(number, text[line : wrong.end()], wrong.start() - line)
        else:
            yield FileRow(number, content)
