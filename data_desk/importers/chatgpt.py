"""ChatGPT's export, `conversations.json`: conversations, each a tree of messages of which one path was the last.

https://github.com/mitkury/chatgpt-export-parser, docs/chatgpt-data-export-format.md: `mapping` has the nodes with
message, parent and children, `current_node` is the end of the path; a message has author.role, recipient and content
with content_type and parts, of which those that are no strings are pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from data_desk.chat import in_pieces
from data_desk.dialogue import Choices, Dialogue, Tally
from data_desk.sample import Sample
from data_desk.tree import path_to

_LOOKED_AT = 20


def reads(sample: Sample) -> bool:
    """Whether it has conversations with such trees."""
    return any(isinstance(each, dict) and isinstance(each.get("mapping"), dict) for each in _all(sample)[:_LOOKED_AT])


def dialogues(sample: Sample, choices: Choices, tally: Tally) -> Iterator[Dialogue]:
    """Each conversation by its last path, in pieces where it is long."""
    for conversation in _all(sample):
        nodes = conversation.get("mapping") if isinstance(conversation, dict) else None
        if isinstance(nodes, dict):
            path = path_to(conversation.get("current_node"), nodes, "parent")
            messages = [node.get("message") for node in path]
            spoken = [turn for message in messages if (turn := _turn(message, choices, tally)) is not None]
            yield from in_pieces(spoken, tally)


def _all(sample: Sample) -> list[Any]:
    return sample.json if isinstance(sample.json, list) else [sample.json]


def _turn(message: Any, choices: Choices, tally: Tally) -> tuple[str, str] | None:
    """(role, text) of a message between the two; None for tools, thoughts and pictures, which are counted."""
    message = message if isinstance(message, dict) else {}
    author, content = message.get("author"), message.get("content")
    role = author.get("role") if isinstance(author, dict) else None
    metadata = message.get("metadata")
    hidden = isinstance(metadata, dict) and metadata.get("is_visually_hidden_from_conversation")
    if role not in ("user", "assistant") or not isinstance(content, dict) or hidden:
        return None
    kind = content.get("content_type")
    if kind not in ("text", "multimodal_text") or message.get("recipient", "all") != "all":
        tally.left["tool"] += 1
        return None
    parts = content.get("parts")
    words = [part for part in parts if isinstance(part, str)] if isinstance(parts, list) else []
    text = "".join(words).strip()
    if not text:
        tally.left["media" if kind == "multimodal_text" else "empty"] += 1
        return None
    if any(word in text for word in choices.drop):
        tally.left["dropped"] += 1
        return None
    return str(role), text
