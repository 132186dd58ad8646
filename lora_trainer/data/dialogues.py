"""A dialogue, and many of them in order: in memory, or set aside in a file."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from tempfile import TemporaryFile
from typing import IO, Any, overload

from lora_trainer.chat_format import Message
from lora_trainer.data.layouts.file_row import Unit

_CHUNK = 1000
"""Dialogues that are written at a time; bounds the memory that it takes."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One conversation: perhaps a system prompt, then user and assistant in turns, the assistant last."""

    messages: tuple[Message, ...]
    file: str
    line: int
    """Counted from 1, in `unit`."""
    style: str | None = None
    category: str | None = None
    unlearnt: tuple[int, ...] = ()
    """The answers, counted from 0, that stand in the history of later ones and aren't learnt themselves."""
    unit: Unit = "line"
    """What `line` counts: where a file's lines tell nothing, its rows."""
    source: str | None = None
    """Who or what wrote it, where its row says so."""
    thoughts: tuple[str, ...] = ()
    """What was thought before each answer, "" for nothing; empty where that isn't learnt."""

    @property
    def learnt(self) -> tuple[int, ...]:
        """Places among the messages of the answers that are learnt."""
        answers = [at for at, message in enumerate(self.messages) if message["role"] == "assistant"]
        return tuple(at for number, at in enumerate(answers) if number not in self.unlearnt)

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two dialogues the same one: roles, contents, which answers aren't learnt, thoughts that are."""
        parts = [part for message in self.messages for part in (message["role"], message["content"])]
        # a dialogue without such answers is the one that it was before there were any
        unlearnt = (f"unlearnt {number}" for number in self.unlearnt)
        return (*parts, *unlearnt, *(f"thought {thought}" for thought in self.thoughts))

    def thought(self, at: int) -> str:
        """What was thought before the answer at this place among the messages; "" for nothing."""
        if not self.thoughts:
            return ""
        return self.thoughts[sum(message["role"] == "assistant" for message in self.messages[:at])]

    @property
    def system(self) -> str | None:
        """The dialogue's own system prompt."""
        return self.messages[0]["content"] if self.messages[0]["role"] == "system" else None


def contents(dialogues: Iterable[Dialogue], role: str) -> Iterator[str]:
    """What one side (system, user or assistant) says in all of them, in order."""
    return (m["content"] for dialogue in dialogues for m in dialogue.messages if m["role"] == role)


def learnt_answers(dialogues: Iterable[Dialogue]) -> Iterator[str]:
    """The answers in all of them that are learnt, in order."""
    return (dialogue.messages[at]["content"] for dialogue in dialogues for at in dialogue.learnt)


class Dialogues(Sequence[Dialogue]):
    """Dialogues in order, in memory or, from `set_aside` until they are asked for again, in a file."""

    def __init__(self, dialogues: Iterable[Dialogue] = ()) -> None:
        self._held: tuple[Dialogue, ...] | None = tuple(dialogues)
        self._count = len(self._held)
        self._file: IO[bytes] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Dialogue: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Dialogue, ...]: ...
    def __getitem__(self, index: int | slice) -> Dialogue | tuple[Dialogue, ...]:
        return self._all()[index]

    def __iter__(self) -> Iterator[Dialogue]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dialogues) and self._all() == other._all()

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> Any:
        return Dialogues, (self._all(),)

    def set_aside(self) -> None:
        """Take no memory until the next use."""
        if self._file is None:
            self._file = TemporaryFile()  # noqa: SIM115 (closed with the last reference)
            for start in range(0, self._count, _CHUNK):
                pickle.dump(self[start : start + _CHUNK], self._file)
        self._held = None

    def _all(self) -> tuple[Dialogue, ...]:
        if self._held is None:
            assert self._file is not None
            self._file.seek(0)
            chunks = (pickle.load(self._file) for _ in range(0, self._count, _CHUNK))
            self._held = tuple(chain.from_iterable(chunks))
        return self._held
