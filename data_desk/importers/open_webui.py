"""Open WebUI's export of chats: a list of chats, each a tree of messages of which one path was the last.

https://github.com/open-webui/open-webui, src/lib/utils/index.ts (the chat's history: `messages` by id, with parentId,
role and content, and `currentId`) and backend/open_webui/models/chats.py (what is around it). Thoughts stand in the
content as `<details type="reasoning">`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from data_desk.chat import in_pieces
from data_desk.dialogue import Choices, Dialogue, Tally
from data_desk.sample import Sample
from data_desk.tree import path_to

_LOOKED_AT = 20
_THOUGHT = '<details type="reasoning"'
_END = "</details>"


def reads(sample: Sample) -> bool:
    """Whether it has chats with such histories."""
    return any(_messages(each) for each in _all(sample)[:_LOOKED_AT])


def dialogues(sample: Sample, choices: Choices, tally: Tally) -> Iterator[Dialogue]:
    """Each chat by its last path, in pieces where it is long."""
    for each in _all(sample):
        nodes = _messages(each)
        chat = each["chat"] if nodes else {}
        end = chat["history"].get("currentId") if nodes else None
        spoken = []
        for node in path_to(end, nodes, "parentId"):
            role, text = node.get("role"), node.get("content")
            if role not in ("user", "assistant", "system") or not isinstance(text, str):
                tally.left["tool"] += 1
            elif any(word in text for word in choices.drop):
                tally.left["dropped"] += 1
            else:
                spoken.append((str(role), _without_thoughts(text)))
        params = chat.get("params")
        system = params.get("system") if isinstance(params, dict) else None
        yield from in_pieces(spoken, tally, system if isinstance(system, str) else "")


def _all(sample: Sample) -> list[Any]:
    return sample.json if isinstance(sample.json, list) else [sample.json]


def _messages(each: Any) -> dict[str, Any]:
    chat = each.get("chat") if isinstance(each, dict) else None
    history = chat.get("history") if isinstance(chat, dict) else None
    messages = history.get("messages") if isinstance(history, dict) else None
    return messages if isinstance(messages, dict) else {}


def _without_thoughts(text: str) -> str:
    kept, at = [], 0
    while (begin := text.find(_THOUGHT, at)) >= 0:
        end = text.find(_END, begin)
        kept.append(text[at:begin])
        if end < 0:
            return "".join(kept)
        at = end + len(_END)
    return "".join([*kept, text[at:]])
