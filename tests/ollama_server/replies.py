"""What a handler gives back, and how a JSON body is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .errors import ApiError

JSON = "application/json; charset=utf-8"
PLAIN_JSON = "application/json"
STREAM = "application/x-ndjson"
TEXT = "text/plain; charset=utf-8"


@dataclass
class Reply:
    status: int
    body: Any = None
    """None is no body; a str goes as it is; anything else as JSON."""
    content_type: str = JSON


@dataclass
class Stream:
    lines: Iterator[dict[str, Any]]
    """An ApiError before the first line is an answer with its own status, a later one a last line."""


KINDS: dict[type, str] = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
FIELDS: dict[str, dict[str, tuple[type, str]]] = {
    "CreateRequest": {
        **dict.fromkeys(("model", "name", "from", "template", "system", "quantize"), (str, "string")),
        **dict.fromkeys(("files", "adapters"), (dict, "map[string]string")),
        "parameters": (dict, "map[string]interface {}"),
        "messages": (list, "[]api.Message"),
        "stream": (bool, "bool"),
    },
    "ChatRequest": {
        "model": (str, "string"),
        "messages": (list, "[]api.Message"),
        "stream": (bool, "bool"),
        "logprobs": (bool, "bool"),
        "options": (dict, "map[string]interface {}"),
    },
    "GenerateRequest": {
        **dict.fromkeys(("model", "prompt", "suffix", "system", "template"), (str, "string")),
        **dict.fromkeys(("stream", "raw", "logprobs"), (bool, "bool")),
        "options": (dict, "map[string]interface {}"),
    },
    "ShowRequest": {"model": (str, "string"), "verbose": (bool, "bool")},
    "CopyRequest": dict.fromkeys(("source", "destination"), (str, "string")),
    "DeleteRequest": dict.fromkeys(("model", "name"), (str, "string")),
    "PullRequest": {"model": (str, "string"), "name": (str, "string"), "stream": (bool, "bool")},
}


def parse_body(body: bytes, kind: str) -> dict[str, Any]:
    """The request's JSON object; what follows it isn't read. Unknown fields are kept. Raises ApiError (400)."""
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
    if not text:
        raise ApiError("missing request body", 400)
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
            raise ApiError("unexpected EOF", 400) from None
        letter = text[error.pos]
        raise ApiError(f"invalid character {letter!r} looking for beginning of value", 400) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ApiError(f"json: cannot unmarshal {KINDS[type(value)]} into Go value of type api.{kind}", 400)
    for name, (wanted, go_type) in FIELDS[kind].items():
        found = value.get(name)
        if found is not None and not isinstance(found, wanted):
            where = f"Go struct field {kind}.{name} of type {go_type}"
            raise ApiError(f"json: cannot unmarshal {KINDS[type(found)]} into {where}", 400)
    for message in value.get("messages") or []:
        message["role"] = message.get("role", "").lower()
        message.setdefault("content", "")
    return value


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "123Z"


def with_status(lines: Iterator[dict[str, Any]]) -> Reply:
    """The answer to `stream: false`: the last line, or the error with its status."""
    try:
        *_, last = lines
    except ApiError as error:
        return Reply(error.status, {"error": str(error)}, PLAIN_JSON)
    return Reply(200, last, PLAIN_JSON)
