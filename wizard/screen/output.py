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


def has_colours(stream: TextIO | None = None) -> bool:
    """Whether what is written may carry codes for colours; an old console of Windows would show them as text."""
    stream = stream or sys.stdout
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty():
        return False
    return os.name != "nt" or "WT_SESSION" in os.environ or "TERM" in os.environ


def painted(text: str, codes: str, stream: TextIO | None = None) -> str:
    """`text` in the colours `codes` (numbers of SGR, as in "1;36"), where they can be shown."""
    return f"\x1b[{codes}m{text}\x1b[0m" if has_colours(stream) else text


def shows(text: str, stream: TextIO | None = None, unknown: str = "ascii") -> bool:
    """Whether a stream can write all characters of `text`; `unknown`: the encoding of one that doesn't say its own."""
    try:
        text.encode(getattr(stream or sys.stdout, "encoding", None) or unknown)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


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
