"""What the training answers are like: counted once, held against the answers of every model and point."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

from data_desk.counting.general import Language, language_of_answers
from data_desk.counting.habits import Habit, habits_of
from data_desk.counting.pieces import pieces
from pipeline.outcome.report_card.counting.letters import Scripts
from pipeline.outcome.report_card.counting.repetition import repeats_itself

LONG = 0.95
"""The length that this part of the training answers doesn't exceed is long."""
_REPETITION_OF = 300
"""Of more training answers so many are looked through for repetition, evenly spread."""


class Taught:
    """The training answers of a run, in order; at least one."""

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers = answers

    @cached_property
    def habits(self) -> tuple[Habit, ...]:
        """What half of them or more do, and ordinary prose doesn't."""
        return habits_of(self.answers)

    @cached_property
    def scripts(self) -> Scripts:
        """The scripts that they are written in."""
        return Scripts(self.answers)

    @cached_property
    def language(self) -> Language:
        """The language of the page of general text that fits them."""
        return language_of_answers(self.answers)

    @cached_property
    def length(self) -> float:
        """Characters of an answer, on average."""
        return sum(map(len, self.answers)) / len(self.answers)

    @cached_property
    def long(self) -> int:
        """Characters of a long answer."""
        return sorted(map(len, self.answers))[int(LONG * (len(self.answers) - 1))]

    @cached_property
    def recurring(self) -> float:
        """The part of them that stand there more than once: where one answer is taught to several questions, to give
        it to one more is what was taught."""
        times = Counter(" ".join(pieces(text)) for text in self.answers)
        return sum(count for count in times.values() if count > 1) / len(self.answers)

    @cached_property
    def repeating(self) -> float:
        """The part of them that repeat themselves, as a song or a counting rhyme does."""
        some = self.answers[:: max(1, -(-len(self.answers) // _REPETITION_OF))]
        return sum(map(repeats_itself, some)) / len(some)
