"""A dialogue, and many of them in order: in memory, or set aside in a file."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from tempfile import TemporaryFile
from typing import IO, Any, overload

from lora_trainer.chat_format import Message

_CHUNK = 1000
"""Dialogues that are written at a time; bounds the memory that it takes."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One conversation: perhaps a system prompt, then user and assistant in turns, the assistant last."""

    messages: tuple[Message, ...]
    file: str
    line: int
    style: str | None = None
    category: str | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two dialogues the same one: roles and contents."""
        return tuple(part for message in self.messages for part in (message["role"], message["content"]))

    @property
    def system(self) -> str | None:
        """The dialogue's own system prompt."""
        return self.messages[0]["content"] if self.messages[0]["role"] == "system" else None


def contents(dialogues: Iterable[Dialogue], role: str) -> Iterator[str]:
    """What one side (system, user or assistant) says in all of them, in order."""
    return (m["content"] for dialogue in dialogues for m in dialogue.messages if m["role"] == role)


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
