"""The file of a run record: JSON with a schema number, and the migrations that open older ones.

`SCHEMA` counts up when the meaning of a field changes; `MIGRATIONS` then open the older records.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from file_formats.durable import write_whole as write_whole
from file_formats.errors import BrokenFile

SCHEMA = 2


def _know_publications(record: dict[str, Any]) -> dict[str, Any]:
    """1 -> 2: a run knows every publication of its model, not the last one alone."""
    published = record["stages"].get("publish")
    known = record.get("ollama")
    publications = [{**known, "finished": published["finished"], "order": 0}] if published and known else []
    return {**record, "schema": 2, "publications": publications}


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _know_publications}
"""From schema n to n + 1; numbered and only ever added to."""
_FIELDS = {"schema": int, "name": str, "number": int, "status": str, "stages": dict}
"""What a record has from the first moment on."""


def version() -> str:
    """The program's own version, from pyproject.toml beside it."""
    import tomllib

    file = Path(__file__).resolve().parents[2] / "pyproject.toml"
    return str(tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"])


def read_record(path: Path) -> dict[str, Any]:
    """A record as it was written; raises BrokenFile."""
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if text.strip("\0 \n") else None
    except OSError as error:
        raise BrokenFile(path, error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise BrokenFile(path, f"no JSON: {error}") from error
    if values is None:
        raise BrokenFile(path, "it is empty")
    if not isinstance(values, dict):
        raise BrokenFile(path, "no JSON object")
    lacking = [name for name, kind in _FIELDS.items() if not isinstance(values.get(name), kind)]
    if lacking:
        raise BrokenFile(path, f"no {', '.join(lacking)} in it")
    return values


def migrated(record: dict[str, Any]) -> dict[str, Any]:
    """A record of today's or an older schema in today's."""
    for schema in range(record["schema"], SCHEMA):
        record = MIGRATIONS[schema](record)
    return record


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write an object as `write_whole` does. What JSON can't say is written as text."""
    write_whole(path, json_bytes(values, indent=1, default=str))


def json_bytes(values: Mapping[str, Any], **how: Any) -> bytes:
    """JSON in UTF-8: half a surrogate pair (a file name that isn't UTF-8) becomes JSON's own escape."""
    return json.dumps(values, ensure_ascii=False, **how).encode("utf-8", errors="backslashreplace")


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file; None where there is none, or not a whole one."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None
