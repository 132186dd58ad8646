"""What is imported, what was decided about it, and what was counted on the way."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lora_trainer.chat_format import Message
from lora_trainer.data.formats import read_row, trim

PAUSE = 30.0
"""Minutes of silence after which a chat is another one, where nobody says otherwise."""
_INVISIBLE = str.maketrans("", "", "\0\u200e\u200f\u202a\u202b\u202c\ufeff")
"""Marks of writing direction, which chat programs put around names and messages, and what no text may hold."""


@dataclass(frozen=True)
class Choices:
    """What the user has decided about an import."""

    character: str | None = None
    """Whose messages are the answers, by the name that the file has."""
    pause: float = PAUSE
    """Minutes."""
    drop: tuple[str, ...] = ()
    """A message that holds one of these is left out."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """What a table's column is for (user, character, system, dialogue) -> its head."""


@dataclass
class Tally:
    """What was counted while a file was read."""

    speakers: Counter[str] = field(default_factory=Counter)
    """Messages of each, without those that were left out."""
    left: Counter[str] = field(default_factory=Counter)
    """Why something was left out -> how often."""
    first: datetime | None = None
    last: datetime | None = None

    def at(self, time: datetime | None) -> None:
        """Note the time of a message."""
        if time is not None:
            self.first = time if self.first is None else min(self.first, time)
            self.last = time if self.last is None else max(self.last, time)


@dataclass(frozen=True)
class Dialogue:
    """One conversation for a training row: perhaps a system prompt, then user and assistant in turns."""

    messages: tuple[Message, ...]
    row: Mapping[str, Any] | None = None
    """The row that it has been already, which is kept as it is."""

    @property
    def as_row(self) -> dict[str, Any]:
        """The row that is written."""
        return dict(self.row) if self.row is not None else {"messages": list(self.messages)}

    @property
    def is_usable(self) -> bool:
        """Whether a training reads it without a fault."""
        return not read_row(self.as_row).faults


def clean(text: str) -> str:
    """A text without what can't be written or seen, and without blanks around it."""
    if not text.isascii():
        # half a surrogate pair, as JSON may have it, can't be written as UTF-8
        text = text.encode("utf-8", "ignore").decode("utf-8")
    return trim(text.translate(_INVISIBLE).replace("\r\n", "\n").replace("\r", "\n"))


def in_turns(spoken: Iterable[tuple[str, str]], tally: Tally, system: str = "") -> Dialogue | None:
    """A dialogue of (role, text): neighbours of one role as one turn, begun by the user and ended by the assistant.

    None where nothing is left of it. System messages among `spoken` are a system prompt in place of `system`.
    """
    turns: list[tuple[str, list[str]]] = []
    for role, text in spoken:
        text = clean(text)
        if not text:
            tally.left["empty"] += 1
        elif role == "system":
            system = text
        elif turns and turns[-1][0] == role:
            turns[-1][1].append(text)
        else:
            turns.append((role, [text]))
    begun = list(itertools.dropwhile(lambda turn: turn[0] != "user", turns))
    tally.left["unasked"] += sum(len(texts) for _, texts in turns[: len(turns) - len(begun)])
    while begun and begun[-1][0] != "assistant":
        tally.left["unanswered"] += len(begun.pop()[1])
    if not begun:
        return None
    head = [{"role": "system", "content": system}] if (system := clean(system)) else []
    return Dialogue((*head, *({"role": role, "content": "\n".join(texts)} for role, texts in begun)))


def is_chinese(text: str) -> bool:
    """Whether a text has Chinese characters."""
    return any("\u4e00" <= character <= "\u9fff" for character in text)
