"""The importers: every module in `importers/`, found by being there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from data_desk import chat, importers
from data_desk.chat import ChatMessage
from data_desk.dialogue import Choices, Dialogue, Tally
from data_desk.sample import Sample


@dataclass(frozen=True)
class Importer:
    """One format, by the name of its module."""

    name: str
    reads: Callable[[Sample], bool]
    """Whether a file has this format."""
    messages: Callable[[Sample], Iterator[ChatMessage]] | None
    """Of a chat log: what people said. None for a format whose dialogues say by themselves who is who."""
    own_dialogues: Callable[[Sample, Choices, Tally], Iterator[Dialogue]] | None
    is_guess: bool
    """Asked last, and always shown before it is taken."""
    answers: Callable[[Sample], str | None] = lambda _: None
    """Of a chat log: the speaker who can only be the character; None where anybody can."""

    def dialogues(self, sample: Sample, choices: Choices, tally: Tally) -> Iterator[Dialogue]:
        """The dialogues of a file; what is left out is counted in `tally`. Raises DataError."""
        if self.messages is not None:
            return chat.dialogues(self.messages(sample), choices, tally)
        assert self.own_dialogues is not None
        return self.own_dialogues(sample, choices, tally)


@cache
def all_importers() -> tuple[Importer, ...]:
    """All of them, guesses last."""
    found = []
    for module in iter_modules(importers.__path__):
        read = import_module(f"{importers.__name__}.{module.name}")
        found.append(
            Importer(
                module.name,
                read.reads,
                getattr(read, "messages", None),
                getattr(read, "dialogues", None),
                getattr(read, "IS_GUESS", False),
                getattr(read, "answers", lambda _: None),
            )
        )
    return tuple(sorted(found, key=lambda importer: (importer.is_guess, importer.name)))


def recognise(sample: Sample) -> Importer | None:
    """The importer that reads a file; None where none does."""
    return next((importer for importer in all_importers() if importer.reads(sample)), None)
