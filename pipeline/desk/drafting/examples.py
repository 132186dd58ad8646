"""Which of the user's own rows show a model the character's manner: a few short ones, chosen by a seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from data_desk.statistics import DRAFTED
from lora_trainer.data.dialogues import Dialogue

MOST = 6
CHARACTERS = 1200
"""Of all examples together: with a system prompt of as many, a context of 4096 tokens has room for an answer."""
LONGEST = 300
"""Characters of one example, where there are such short ones."""


@dataclass(frozen=True)
class Example:
    """What a user says first, and the character's answer to it."""

    line: str
    answer: str

    @property
    def size(self) -> int:
        """Characters."""
        return len(self.line) + len(self.answer)


def examples_in(dialogues: Iterable[Dialogue], system: str | None) -> list[Example]:
    """The short ones of the user's own rows under this system prompt, or none; the shortest one where all are long.

    Rows that a model has drafted teach no manner, and neither do answers that aren't learnt.
    """
    found = list(dict.fromkeys(_own(dialogues, system)))
    short = [example for example in found if example.size <= LONGEST]
    return short or sorted(found, key=lambda example: example.size)[:1]


def has_examples(dialogues: Iterable[Dialogue], system: str | None) -> bool:
    """Whether there is any row to take the manner from."""
    return next(_own(dialogues, system), None) is not None


def choose(examples: Sequence[Example], seed: int) -> list[Example]:
    """At most MOST of them, of at most CHARACTERS together (but one in any case), in an order of the seed's."""
    chosen: list[Example] = []
    room = CHARACTERS
    for example in Random(seed).sample(examples, len(examples)):
        if len(chosen) < MOST and (example.size <= room or not chosen):
            chosen.append(example)
            room -= example.size
    return chosen


def _own(dialogues: Iterable[Dialogue], system: str | None) -> Iterator[Example]:
    for dialogue in dialogues:
        line, answer = [message["content"] for message in dialogue.messages if message["role"] != "system"][:2]
        if dialogue.source != DRAFTED and 0 not in dialogue.unlearnt and dialogue.system in (system, None):
            yield Example(line, answer)
