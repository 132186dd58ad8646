"""How the rows lie in a file: told by what is in it, whatever its name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lora_trainer.data.layouts.file_row import FileRow, Unit
from lora_trainer.data.layouts.json_array import rows_of_array
from lora_trainer.data.layouts.json_lines import refuse_spread, rows_of_lines
from lora_trainer.data.layouts.table import head_of, rows_of_table

_BEFORE = re.compile(rb"(?:\s|\xef\xbb\xbf)*")


def rows_of_text(data: bytes) -> tuple[Unit, Iterator[FileRow]]:
    """The rows of a text in UTF-8, and what they are counted in. Raises BadFile, also while they are read."""
    match = _BEFORE.match(data)
    begin = match.end() if match else 0
    opening = data[begin : begin + 1]
    if opening == b"[":
        return rows_of_array(data, begin)
    if opening == b"{":
        refuse_spread(data, begin)
        return "line", rows_of_lines(data)
    text = data.decode("utf-8", "surrogateescape").lstrip("\ufeff")
    head = head_of(text)
    return "line", rows_of_table(text, head) if head else rows_of_lines(data)
