"""Broken JSON that a rule can mend: a text becomes JSON, and each slip in it is an edit."""

from __future__ import annotations

import ast
import json
import warnings
from typing import Any

from data_desk.repairs.edit import Edit, applied
from data_desk.repairs.loose_json import Hopeless, edits_of
from lora_trainer.data.names import are_known

_BLANKS = " \t\r\n\ufeff"


def mended_json(text: str) -> tuple[str, list[Edit]] | None:
    """The text as JSON (one array, or objects on lines of their own), and what was mended; None where no rule does.

    Only dialogues are mended: what holds something else, or breaks off inside a dialogue, isn't made one.
    """
    try:
        edits = edits_of(text)
        mended = applied(text, edits)
    except Hopeless:
        literal = _python_literal(text)
        if literal is None:
            return None
        edits, mended = [Edit("json_single", 0, len(text), literal)], literal
    values = values_of(mended)
    if not values or not all(isinstance(value, dict) for value in values) or not any(map(are_known, values)):
        return None
    return mended, edits


def values_of(text: str) -> list[Any] | None:
    """The values of a text that is an array, or objects one behind the other; None where it is neither."""
    decoder, values = json.JSONDecoder(), []
    text = text.strip(_BLANKS)
    at = 0
    try:
        while at < len(text):
            value, at = decoder.raw_decode(text, at)
            values.append(value)
            while text[at : at + 1] and text[at] in _BLANKS:
                at += 1
    except (ValueError, RecursionError):
        return None
    return values[0] if len(values) == 1 and isinstance(values[0], list) else values


def _python_literal(text: str) -> str | None:
    """As JSON, what Python prints of a dict: its quotation marks are single ones, and they are unmistakable."""
    if "'" not in text or not text.lstrip().startswith("{"):
        return None
    try:
        with warnings.catch_warnings():
            # an escape that Python doesn't know stays as it is written
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text.strip())
        return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
