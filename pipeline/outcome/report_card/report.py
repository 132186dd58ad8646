"""The report card of a run: what is known of it, counted, judged, and put into lines."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pipeline.outcome.asked import Comparison
from pipeline.outcome.card import Card
from pipeline.outcome.report_card.counted import Counted, count
from pipeline.outcome.report_card.counting.chance import apart
from pipeline.outcome.report_card.course import Course, course_of
from pipeline.outcome.report_card.lines import lines_of
from pipeline.outcome.report_card.next_step import next_step
from pipeline.outcome.report_card.taught import Taught
from pipeline.outcome.report_card.verdict import Facts, verdict_of
from pipeline.outcome.report_card.warnings import warnings_of


def make_card(
    record: Mapping[str, Any],
    training_answers: Sequence[str] | Taught,
    comparison: Comparison | None = None,
    *,
    point: Mapping[str, Any] | None = None,
    standing: Mapping[str, Any] | None = None,
    previous: Mapping[str, Any] | None = None,
    rungs: Sequence[tuple[float, int]] = (),
    questions_taught: Collection[str] = (),
) -> Card:
    """The card of the trained run with this record; without a `comparison` only the facts that need no answers.

    `training_answers`: every assistant turn of the training rows, in order; as `Taught` they are counted once for the
    cards of several points. `comparison`: with the answers of this run, or of its `point` (`step` and `epochs`).
    `standing`: the record of the run whose model stands in Ollama, `previous` that of the last run of the name;
    `rungs`: (epochs, number) of the shorter trained runs of its ladder. `questions_taught`: the user's turns of the
    training rows, the answers to which aren't copied.
    """
    taught = training_answers if isinstance(training_answers, Taught) else Taught(training_answers)
    course = course_of(record, point)
    before, after = _counted(comparison, taught, questions_taught)
    warnings = warnings_of(course, after, taught)
    facts = Facts(course, taught, comparison, before, after, warnings)
    verdict = verdict_of(facts)
    return Card(
        verdict=verdict,
        lines=lines_of(facts, record, standing, previous),
        next_step=next_step(verdict, facts, record, rungs=rungs, standing=standing),
        facts={**_course_facts(course), **_answer_facts(taught, before, after)},
    )


def _counted(
    comparison: Comparison | None, taught: Taught, questions_taught: Collection[str]
) -> tuple[Counted | None, Counted | None]:
    if comparison is None or not comparison.asked:
        return None, None
    asked = comparison.asked
    known = [(one.before, one.question) for one in asked if one.before is not None]
    answers = [answer for answer, _ in known]
    before = count(answers, [question for _, question in known], taught) if known else None
    questions = [one.question for one in asked]
    return before, count([one.after for one in asked], questions, taught, questions_taught)


def _course_facts(course: Course) -> dict[str, Any]:
    lowest = course.lowest or (None, None)
    return {
        "rows": course.rows,
        "epochs": course.epochs,
        "advised": list(course.advised),
        "loss": list(course.losses) if course.losses else None,
        "validation": [list(point) for point in course.validation],
        "validation_lowest": lowest[1],
        "validation_lowest_epochs": lowest[0],
        "general": list(course.general) if course.general else None,
        "forgotten": course.forgotten,
        "points": list(course.points),
        "seconds": course.seconds,
        "peak_memory": course.memory,
    }


def _answer_facts(taught: Taught, before: Counted | None, after: Counted | None) -> dict[str, Any]:
    """Of the answers, where some were given."""
    if after is None:
        return {}
    return {
        "asked": after.of,
        "apart": apart(after.of),
        "stopped": after.stopped,
        "endless": after.endless,
        "repeating": after.repeating,
        "astray": after.astray,
        "foreign": after.foreign,
        "foreign_words": list(after.foreign_words),
        "copied": after.whole,
        "copied_runs": after.runs,
        "untaught": after.untaught,
        "length": after.length,
        "length_taught": taught.length,
        "length_before": before.length if before else None,
        "asked_before": before.of if before else 0,
        "stopped_before": before.stopped if before else None,
        "habits": [
            {
                "kind": habit.kind,
                "text": habit.text,
                "taught": habit.share,
                "before": before.habits[at] if before else None,
                "after": after.habits[at],
            }
            for at, habit in enumerate(taught.habits)
        ],
    }
