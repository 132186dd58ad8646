"""Pieces of a file as they are compared and shown to people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

JSON_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
# All that str.strip() takes, and the zero-width characters that editors and web pages leave at the ends.
_ENDS = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
    "\u200b\u2060\ufeff"
)


def trim(text: str) -> str:
    """Take white space and zero-width characters off both ends."""
    return text.strip(_ENDS)


def shown(value: Any, limit: int = 60) -> str:
    """Make anything from a file safe to print: control characters and lone surrogates escaped, long ones cut."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value)[: limit + 1])
    return text[:limit] + "…" if len(text) > limit else text


def keys_of(keys: Iterable[Any]) -> str:
    """The first keys of a row or heads of a table, side by side."""
    return ", ".join(shown(key, 30) for key in list(keys)[:12]) or "–"


def json_type(value: Any) -> str:
    """Name the type as JSON does."""
    return JSON_TYPES.get(type(value), "number")
