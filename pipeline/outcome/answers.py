"""What runs have answered, as their records tell it: in comparisons, and along the way of their trainings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.outcome.asked import Asked, Comparison, Question, Side
from pipeline.run.history import Run


@dataclass(frozen=True)
class Shared:
    """One question that two runs have answered."""

    question: str
    first: str
    second: str


def comparison_of(record: dict[str, Any]) -> Comparison | None:
    """A record's comparison; None where it has none that can be read."""
    try:
        return Comparison.from_record(record["comparison"])
    except (LookupError, TypeError, AttributeError):
        return None


def shared_answers(first: Run, second: Run, runs: Sequence[Run]) -> list[Shared]:
    """The questions that two of a model's `runs` have both answered, in the order of the second's; those of comparisons
    before those of the training.
    """
    return _shared(_compared(first, runs), _compared(second, runs)) or _shared(_sampled(first), _sampled(second))


def _shared(one: dict[Question, str], other: dict[Question, str]) -> list[Shared]:
    return [Shared(question.text, one[question], answer) for question, answer in other.items() if question in one]


def _compared(run: Run, runs: Sequence[Run]) -> dict[Question, str]:
    """What a run answered in its own comparison, and in those of other runs that it was held against."""
    found: dict[Question, str] = {}
    for other in (run, *runs):
        comparison = comparison_of(other.record)
        if comparison is None:
            continue
        for asked, side in _sides(comparison):
            answer = asked.before if side is comparison.before else asked.after
            if answer is not None and side.kind == "run" and side.run == run.number:
                found.setdefault(_plain(asked.question), answer.text)
    return found


def _sides(comparison: Comparison) -> Iterator[tuple[Asked, Side]]:
    for asked in comparison.asked:
        yield asked, comparison.after
        if comparison.before is not None:
            yield asked, comparison.before


def _plain(question: Question) -> Question:
    """The same question, wherever it came from."""
    return Question(question.text, "typed", question.system)


def _sampled(run: Run) -> dict[Question, str]:
    """What a run answered at the last evaluation of its training."""
    samples = (run.record.get("training") or {}).get("samples") or []
    last = samples[-1]["step"] if samples else None
    return {Question(one["question"], "typed"): one["answer"] for one in samples if one["step"] == last}
