"""SillyTavern chats as `.jsonl`: a line about the chat, then one message a line.

https://github.com/SillyTavern/SillyTavern, src/endpoints/chats.js: the first line has user_name, character_name and
chat_metadata; a message has name, is_user, is_system, mes, and where there are several answers swipes and the number of
the chosen one, swipe_id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from data_desk.chat import in_pieces
from data_desk.dialogue import Choices, Dialogue, Tally
from data_desk.sample import Sample

_LOOKED_AT = 5


def reads(sample: Sample) -> bool:
    """Whether its first lines are those of such a chat."""
    first = sample.json_lines[:_LOOKED_AT]
    return any(isinstance(line, dict) and "mes" in line and "is_user" in line for line in first)


def dialogues(sample: Sample, choices: Choices, tally: Tally) -> Iterator[Dialogue]:
    """The chat, in pieces where it is long."""
    spoken = []
    for line in sample.json_lines:
        if not isinstance(line, dict) or "mes" not in line:
            continue
        if line.get("is_system"):
            tally.left["system"] += 1
            continue
        role = "user" if line.get("is_user") else "assistant"
        text = _chosen(line)
        tally.speakers[str(line.get("name") or role)] += 1
        if any(word in text for word in choices.drop):
            tally.left["dropped"] += 1
        else:
            spoken.append((role, text))
    yield from in_pieces(spoken, tally)


def _chosen(line: dict[str, Any]) -> str:
    swipes, number = line.get("swipes"), line.get("swipe_id")
    if isinstance(swipes, list) and isinstance(number, int) and 0 <= number < len(swipes):
        text = swipes[number]
        if isinstance(text, str):
            return text
    return line["mes"] if isinstance(line["mes"], str) else ""
