"""A row of a file before anybody knows what it says, and what can be wrong with a file as a whole."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

Unit = Literal["line", "row"]
"""What a file's rows are counted in: its lines, or, where these tell nothing, the rows themselves."""
ESCAPED = re.compile("[\udc80-\udcff]")
"""A byte that wasn't UTF-8, in a text that was decoded with Python's surrogateescape (PEP 383)."""


class BadFile(Exception):
    """A fault of a whole file, as one text key with its values: none of its rows is used."""

    def __init__(self, line: int, key: str, **values: Any) -> None:
        super().__init__(key)
        self.line, self.key, self.values = line, key, values


@dataclass(frozen=True)
class FileRow:
    """The decoded row, or the fault that keeps it from being one."""

    number: int
    """Counted from 1, in the file's unit."""
    content: Any = None
    fault: str | None = None
    """Text key."""
    values: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def bad(cls, number: int, fault: str, **values: Any) -> FileRow:
        """A row that can't be read."""
        return cls(number, None, fault, values)


def no_utf8(number: int, line: str, at: int) -> FileRow:
    """A row with a byte that isn't UTF-8, which `line` has at character `at`."""
    column = len(line[:at].encode("utf-8", "surrogateescape")) + 1
    return FileRow.bad(number, "data.fault.utf8", byte=f"0x{ord(line[at]) - 0xDC00:02X}", column=column)
