"""A row's turns, to be changed one by one: a row of `messages` stays as it is around them, another becomes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lora_trainer.data.formats import read_row
from lora_trainer.data.names import KEYS, ROLES

_KEPT = ("style", "category")
"""Of the keys that mean something those that aren't the dialogue itself."""


@dataclass(frozen=True)
class Turn:
    """Something that is said."""

    at: int
    """Its place among the row's messages."""
    role: str
    """system, user or assistant."""
    text: str


def turns_of(content: Any) -> list[Turn]:
    """What is said in a row; turns of programs are left out."""
    messages = in_messages(content)["messages"]
    found = [Turn(at, ROLES[message["role"].casefold()], message["content"]) for at, message in enumerate(messages)]
    return [turn for turn in found if turn.role != "tool"]


def with_turn(content: Any, at: int, text: str) -> dict[str, Any]:
    """The row with another text in one of its turns."""
    row = in_messages(content)
    messages = [{**message, "content": text} if n == at else message for n, message in enumerate(row["messages"])]
    return {**row, "messages": messages}


def with_system(content: Any, text: str) -> dict[str, Any]:
    """The row with this system prompt; an empty one takes it away."""
    row = in_messages(content)
    others = [message for message in row["messages"] if ROLES[message["role"].casefold()] != "system"]
    head = [{"role": "system", "content": text}] if text else []
    return {**row, "messages": [*head, *others]}


def in_messages(content: Any) -> dict[str, Any]:
    """The row as one of OpenAI's `messages`: itself where it is one, else what its format says.

    What isn't the dialogue is kept, and so is which answers aren't learnt.
    """
    messages = content.get("messages")
    if isinstance(messages, list) and messages and all(map(_is_plain, messages)):
        return dict(content)
    row = read_row(content)
    made, answers = [], 0
    for message in row.messages:
        made.append(dict(message))
        if message["role"] == "assistant":
            if answers in row.unlearnt:
                made[-1]["weight"] = 0  # type: ignore[assignment]
            answers += 1
    others = {key: value for key, value in content.items() if key not in KEYS or key in _KEPT}
    return {"messages": made, **others}


def _is_plain(message: Any) -> bool:
    if not isinstance(message, dict):
        return False
    role = message.get("role")
    return isinstance(role, str) and role.casefold() in ROLES and isinstance(message.get("content"), str)
