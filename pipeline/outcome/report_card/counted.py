"""Answers as numbers: how many stop, go round in circles, were copied, have the habits that were taught."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pipeline.outcome.asked import Answer, Question
from pipeline.outcome.report_card.counting.copying import copied
from pipeline.outcome.report_card.counting.repetition import repeats_itself
from pipeline.outcome.report_card.taught import Taught


@dataclass(frozen=True)
class Counted:
    """A model's answers; every count is one of answers."""

    of: int
    """How many it gave; at least one."""
    stopped: int
    """Ended by themselves."""
    endless: int
    """Did not, although they are longer than a long training answer."""
    repeating: int
    astray: int
    """Endless or repeating."""
    looping: int
    """Endless and repeating."""
    foreign: int
    """Hold words in a script that the training answers hardly have."""
    foreign_words: tuple[str, ...]
    """Some of them."""
    whole: int
    """Are a training answer, word for word."""
    runs: int
    """Are one, or have 12 characters or 8 words in a row of one."""
    untaught: int
    """Answers to questions that the training rows don't ask: what `whole` and `runs` are of."""
    length: float
    """Characters, on average."""
    habits: tuple[int, ...]
    """In the order of the training answers' habits."""


def count(
    answers: Sequence[Answer], questions: Sequence[Question], taught: Taught, questions_taught: Collection[str] = ()
) -> Counted:
    """Count `answers`, each to the question at its place; to one that was taught, the taught answer isn't copied."""
    endless = [
        not answer.stopped and max(len(answer.text), answer.tokens) > taught.long for answer in answers
    ]  # an answer that was cut where taught ones go on tells nothing
    repeating = [repeats_itself(answer.text) for answer in answers]
    words = [
        taught.scripts.foreign(answer.text, (question.text, question.system or ""))
        for answer, question in zip(answers, questions, strict=True)
    ]
    known = {_plain(question) for question in questions_taught}
    untaught = [
        answer.text for answer, question in zip(answers, questions, strict=True) if _plain(question.text) not in known
    ]
    copies = copied(untaught, taught.answers)
    return Counted(
        of=len(answers),
        stopped=sum(answer.stopped for answer in answers),
        endless=sum(endless),
        repeating=sum(repeating),
        astray=sum(one or other for one, other in zip(endless, repeating, strict=True)),
        looping=sum(one and other for one, other in zip(endless, repeating, strict=True)),
        foreign=sum(map(bool, words)),
        foreign_words=tuple(dict.fromkeys(word for found in words for word in found))[:5],
        whole=sum(whole for whole, _ in copies),
        runs=sum(run for _, run in copies),
        untaught=len(untaught),
        length=sum(len(answer.text) for answer in answers) / len(answers),
        habits=tuple(sum(habit.holds(answer.text) for answer in answers) for habit in taught.habits),
    )


def _plain(question: str) -> str:
    return "".join(filter(str.isalnum, question)).casefold()
