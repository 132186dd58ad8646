"""The bare streams: what has to work before, after and without any drawing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

TYPE_CHECKING = False  # as in command_line.py
if TYPE_CHECKING:
    from typing import Any, TextIO


def never_fail_on_characters() -> None:
    """Let a console that can't show a character (GBK, ASCII) show a question mark instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            wide = os.name == "nt" and stream.isatty()
            stream.reconfigure(encoding="utf-8" if wide else None, errors="replace")


def write(text: str, stream: TextIO | None = None) -> None:
    """Write `text` as it is."""
    stream = stream or sys.stdout
    stream.write(text)
    stream.flush()


def write_json(values: Mapping[str, Any]) -> None:
    """Write one JSON object in one line to stdout; in ASCII where stdout holds no Unicode."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf8")
    write(json.dumps(values, ensure_ascii=not unicode, default=str) + "\n")


def drop_stdout() -> None:
    """Nobody reads stdout any more: let the interpreter's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
