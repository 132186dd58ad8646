"""Where the words stand in a row of any known format, so that a repair has to say only what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lora_trainer.data.names import (
    CALL_KEYS,
    CONTENT_KEYS,
    PAIRS,
    ROLE_KEYS,
    ROLES,
    SYSTEM_KEYS,
    THOUGHT_KEYS,
    TURN_LISTS,
    Pair,
)
from lora_trainer.data.written import trim

Words = Callable[[str, str], str]
"""(role, text) -> the text that it becomes."""
Turns = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


def role_of(turn: Mapping[str, Any]) -> str | None:
    """system, user, assistant or tool; None where it isn't known."""
    key = next((key for key in ROLE_KEYS if key in turn), None)
    said = turn[key] if key else None
    return ROLES.get(trim(said).casefold()) if isinstance(said, str) else None


def content_key(turn: Mapping[str, Any]) -> str | None:
    """Under what a turn has its words."""
    return next((key for key in CONTENT_KEYS if key in turn), None)


def with_words(row: dict[str, Any], change: Words) -> dict[str, Any]:
    """The row with other words in its turns, its question, answer and history; the row itself where none differ."""
    changed: dict[str, Any] = {}
    listed = _list_key(row)
    if listed is not None:
        changed[listed] = [_turn(turn, change) for turn in row[listed]]
    elif pair := next((pair for pair in PAIRS if pair.question in row), None):
        sides = [(pair.question, "user"), (pair.adds or "", "user"), *((key, "assistant") for key in pair.answers)]
        changed |= {key: change(role, row[key]) for key, role in sides if isinstance(row.get(key), str)}
        history = row.get(pair.history) if pair.history else None
        if pair.history and isinstance(history, list):
            changed[pair.history] = [_both(both, change) for both in history]
    changed |= {key: change("system", row[key]) for key in SYSTEM_KEYS if isinstance(row.get(key), str)}
    differ = {key: value for key, value in changed.items() if value != row[key]}
    return {**row, **differ} if differ else row


def with_turns(row: dict[str, Any], change: Turns) -> dict[str, Any]:
    """The row with another list of turns; the row itself where it has none, or the same."""
    listed = _list_key(row)
    if listed is None or not all(isinstance(turn, dict) for turn in row[listed]):
        return row
    turns = change(row[listed])
    return {**row, listed: turns} if turns != row[listed] else row


def ends_of_answers(row: Mapping[str, Any]) -> Sequence[int]:
    """Behind how many turns an answer ends; of a question with a history, behind how many of its pairs."""
    if (listed := _list_key(row)) is not None:
        turns = row[listed] if all(isinstance(turn, dict) for turn in row[listed]) else []
        return [end for end, turn in enumerate(turns, 1) if role_of(turn) == "assistant" and not _only_calls(turn)]
    pair = _pair_with_history(row)
    return range(1, len(row[str(pair.history)]) + 1) if pair else ()


def up_to(row: dict[str, Any], end: int) -> dict[str, Any]:
    """The row with what stands before one of `ends_of_answers`, and nothing after it."""
    pair = _pair_with_history(row)
    if pair is None:
        return with_turns(row, lambda turns: turns[:end])
    history = row[str(pair.history)]
    answer = next(key for key in pair.answers if key in row)
    # what is added to the question, and what was thought before the answer, is that of the last ones
    own = {key: value for key, value in row.items() if key not in THOUGHT_KEYS}
    own |= {pair.adds: ""} if pair.adds and row.get(pair.adds) else {}
    question, said = history[end - 1]
    return {**own, pair.question: question, answer: said, str(pair.history): history[: end - 1]}


def _pair_with_history(row: Mapping[str, Any]) -> Pair | None:
    pair = next((pair for pair in PAIRS if pair.question in row), None) if _list_key(row) is None else None
    history = row.get(pair.history) if pair and pair.history else None
    is_one = isinstance(history, list) and all(isinstance(both, list) and len(both) == 2 for both in history)
    return pair if is_one else None


def _only_calls(turn: Mapping[str, Any]) -> bool:
    """Whether a turn asks a program for something, and says nothing."""
    said = turn.get(content_key(turn) or "")
    return any(turn.get(key) for key in CALL_KEYS) and not (trim(said) if isinstance(said, str) else said)


def _list_key(row: Mapping[str, Any]) -> str | None:
    key = next((key for key in TURN_LISTS if key in row), None)
    return key if key is not None and isinstance(row[key], list) else None


def _turn(turn: Any, change: Words) -> Any:
    if not isinstance(turn, dict) or (role := role_of(turn)) is None or (key := content_key(turn)) is None:
        return turn
    content = turn[key]
    if isinstance(content, str):
        return {**turn, key: change(role, content)}
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return {**turn, key: [_part(part, role, change) for part in content]}
    return turn


def _part(part: dict[str, Any], role: str, change: Words) -> dict[str, Any]:
    """One of OpenAI's content parts; blanks at their ends hold them apart."""
    if part.get("type") != "text" or not isinstance(part.get("text"), str):
        return part
    text = part["text"]
    changed = change(role, text)
    return part if changed == trim(text) else {**part, "text": changed}


def _both(both: Any, change: Words) -> Any:
    if isinstance(both, list) and len(both) == 2 and all(isinstance(text, str) for text in both):
        return [change("user", both[0]), change("assistant", both[1])]
    return both
