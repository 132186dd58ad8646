"""Telegram chats as `result.json`, by Telegram Desktop: of one chat, or of all.

https://github.com/telegramdesktop/tdesktop, Telegram/SourceFiles/export/output/export_output_json.cpp: a chat has
`messages`, each with type (message, service), date, from, and text as a string or a list of strings and objects with
their own text; all chats stand in `chats.list`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from data_desk.chat import ChatMessage
from data_desk.sample import Sample
from data_desk.times import time_of_text

_CALLS = ("phone_call", "group_call", "invite_to_group_call", "conference_call")


def reads(sample: Sample) -> bool:
    """Whether it has the messages of a chat, as Telegram writes them."""
    return any(True for _ in _chats(sample.json))


def messages(sample: Sample) -> Iterator[ChatMessage]:
    """The messages in their order, chat by chat."""
    for thread, chat in enumerate(_chats(sample.json)):
        for message in chat:
            if isinstance(message, dict):
                yield _message(message, thread)


def _chats(value: Any) -> Iterator[list[Any]]:
    if not isinstance(value, dict):
        return
    chats = value.get("chats")
    several = chats.get("list") if isinstance(chats, dict) else None
    for chat in several if isinstance(several, list) else [value]:
        told = chat.get("messages") if isinstance(chat, dict) else None
        if isinstance(told, list) and any(_is_message(message) for message in told[:50]):
            yield told


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") in ("message", "service") and "date" in value


def _message(message: dict[str, Any], thread: int) -> ChatMessage:
    time = time_of_text(message["date"]) if isinstance(message.get("date"), str) else None
    if message.get("type") != "message":
        return ChatMessage("", "", time, "call" if message.get("action") in _CALLS else "system", thread)
    speaker = message.get("from") or message.get("from_id") or ""
    text = _text(message.get("text"))
    # a picture may have words below it
    left = "media" if not text.strip() else ""
    return ChatMessage(str(speaker), text, time, left if speaker else "system", thread)


def _text(value: Any) -> str:
    parts = value if isinstance(value, list) else [value]
    words = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return "".join(word for word in words if isinstance(word, str))
