"""What the rows of a training file and of its validation file are like, counted without changing anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from data_desk.counting.habits import Habit, habits_of
from data_desk.counting.languages import shares
from data_desk.counting.near import can_be_found, near_groups
from data_desk.counting.situations import SITUATIONS, situations_of
from lora_trainer.data.dialogues import Dialogue, learnt_answers

BUCKETS = 8
DRAFTED = "drafted"
"""What a row has under `source` that a model has drafted and somebody has taken."""


@dataclass(frozen=True)
class Lengths:
    """Characters of the answers."""

    buckets: tuple[int, ...]
    """How many answers lie in each of eight parts of the same width, from the shortest answer to the longest."""
    average: float
    longest: int
    line: int
    """Of the first answer that is so long."""


@dataclass(frozen=True)
class Kept:
    """A habit of the answers, and where it isn't kept."""

    habit: Habit
    against: tuple[int, ...]
    """Lines of the rows that have an answer without it."""


@dataclass(frozen=True)
class Systems:
    """System prompts."""

    common: str | None
    """The one that most of the rows with one have."""
    different: int
    """How many there are."""
    without: int
    """Rows that have none."""
    lines: tuple[int, ...]
    """Rows with another than the common one."""


@dataclass(frozen=True)
class Statistics:
    """Everything that is counted; lines are those of the training file, where nothing else is said."""

    rows: int
    answers: int
    val_rows: int
    lengths: Lengths | None
    """None where there are no answers."""
    habits: tuple[Kept, ...]
    languages: dict[str, float]
    """zh, en, other -> its part of all letters of the answers."""
    duplicates: tuple[tuple[int, ...], ...]
    """Lines of equal rows."""
    near: tuple[tuple[int, ...], ...] | None
    """Lines of rows that are nearly equal; None where the library isn't there that finds them."""
    in_both: tuple[tuple[int, int], ...]
    """(line, line of the validation file) of rows that are in both."""
    systems: Systems
    situations: dict[str, int]
    """Kind of situation -> rows with it."""
    categories: dict[str, int]
    """What rows say of themselves under `category`."""
    drafted: int
    """Rows that a model has drafted."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The situations that no row has."""
        return tuple(name for name, count in self.situations.items() if not count)

    @property
    def told(self) -> dict[str, Any]:
        """As JSON tells it."""
        habits = [
            {"kind": kept.habit.kind, "text": kept.habit.text, "share": kept.habit.share, "against": kept.against}
            for kept in self.habits
        ]
        return {**asdict(self), "habits": habits, "missing": self.missing}


def statistics(train: Sequence[Dialogue], val: Sequence[Dialogue] = ()) -> Statistics:
    """Count everything."""
    answers = list(learnt_answers(train))
    lines: dict[tuple[str, ...], list[int]] = {}
    for dialogue in train:
        lines.setdefault(dialogue.key, []).append(dialogue.line)
    found = Counter(name for dialogue in train for name in situations_of(dialogue.messages))
    return Statistics(
        rows=len(train),
        answers=len(answers),
        val_rows=len(val),
        lengths=_lengths(train),
        habits=tuple(Kept(habit, _against(habit, train)) for habit in habits_of(answers)),
        languages=shares(answers),
        duplicates=tuple(tuple(group) for group in lines.values() if len(group) > 1),
        near=_near(train, lines),
        in_both=tuple((lines[each.key][0], each.line) for each in val if each.key in lines),
        systems=_systems(train),
        situations={situation.name: found[situation.name] for situation in SITUATIONS},
        categories=dict(Counter(each.category for each in train if each.category).most_common()),
        drafted=sum(each.source == DRAFTED for each in train),
    )


def words_of(dialogue: Dialogue) -> str:
    """What is said in a dialogue, without its system prompt."""
    return "\n".join(message["content"] for message in dialogue.messages if message["role"] != "system")


def _lengths(dialogues: Iterable[Dialogue]) -> Lengths | None:
    found = [(len(dialogue.messages[at]["content"]), dialogue.line) for dialogue in dialogues for at in dialogue.learnt]
    if not found:
        return None
    longest, line = max(found, key=lambda one: one[0])
    shortest = min(found)[0]
    width = (longest - shortest + 1) / BUCKETS
    counts = Counter(int((length - shortest) / width) for length, _ in found)
    average = sum(length for length, _ in found) / len(found)
    return Lengths(tuple(counts[at] for at in range(BUCKETS)), average, longest, line)


def _against(habit: Habit, dialogues: Iterable[Dialogue]) -> tuple[int, ...]:
    if habit.share == 1.0:
        return ()
    return tuple(
        dialogue.line
        for dialogue in dialogues
        if not all(habit.holds(dialogue.messages[at]["content"]) for at in dialogue.learnt)
    )


def _near(train: Sequence[Dialogue], lines: dict[tuple[str, ...], list[int]]) -> tuple[tuple[int, ...], ...] | None:
    """Equal rows count once: they are told as duplicates."""
    if not can_be_found():
        return None
    firsts = {own[0] for own in lines.values()}
    different = [dialogue for dialogue in train if dialogue.line in firsts]
    groups = near_groups([words_of(dialogue) for dialogue in different])
    return tuple(tuple(different[at].line for at in group) for group in groups)


def _systems(train: Iterable[Dialogue]) -> Systems:
    own = [(dialogue.system, dialogue.line) for dialogue in train]
    counts = Counter(system for system, _ in own if system is not None)
    common = counts.most_common(1)[0][0] if counts else None
    return Systems(
        common=common,
        different=len(counts),
        without=sum(system is None for system, _ in own),
        lines=tuple(line for system, line in own if system is not None and system != common),
    )
