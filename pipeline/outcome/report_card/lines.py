"""The lines of a report card, one fact each; their words stand under `card.<key>`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.outcome.card import Line, Mark
from pipeline.outcome.report_card.counted import Counted
from pipeline.outcome.report_card.counting.chance import apart, is_below
from pipeline.outcome.report_card.course import NOTICED, Course, course_of
from pipeline.outcome.report_card.next_step import SHORT
from pipeline.outcome.report_card.verdict import TAKEN_ON, Facts
from pipeline.outcome.validation import validated_alike

LIKE_LENGTH = 1.5
"""Answers of up to so many times the taught length, and down to its SHORT part, are as long as the taught ones."""


def lines_of(
    facts: Facts, record: Mapping[str, Any], standing: Mapping[str, Any] | None, previous: Mapping[str, Any] | None
) -> tuple[Line, ...]:
    """All lines, those that warn first, each group in the order in which people ask."""
    course = facts.course
    lines = [*_validation(course), *_standing(course, record, standing), *_training(facts), *_general(facts)]
    if facts.after is not None:
        lines += [*_answers(facts, facts.after), *_habits(facts, facts.after), *_length(facts, facts.after)]
        lines += _copied(facts, facts.after)
    lines += [*_how_sure(facts), *_changed(record, previous)]
    if course.memory:
        key = "memory_card" if course.device == "cuda" else "memory"
        lines.append(Line(key, "plain", {"gigabytes": course.memory / 1e9}))
    return tuple(sorted(lines, key=lambda line: line.mark != "warning"))


def _validation(course: Course) -> Iterator[Line]:
    if not course.validation or course.lowest is None:
        yield Line("no_validation", "plain")
        return
    (first_epochs, first), (_, last) = course.validation[0], course.validation[-1]
    epochs, lowest = course.lowest
    if course.trend == "risen":
        key = "validation_risen" if epochs > first_epochs else "validation_up"
        yield Line(key, "plain", {"first": first, "last": last, "lowest": lowest, "epochs": epochs})
    elif course.trend is None:
        yield Line("validation_once", "plain", {"last": last})
    else:
        key = "validation_falling" if course.trend == "falling" else "validation_flat"
        yield Line(key, "plain", {"first": first, "last": last})


def _standing(course: Course, record: Mapping[str, Any], standing: Mapping[str, Any] | None) -> Iterator[Line]:
    if standing is None or not course.validation:
        return
    number = int(standing["number"])
    alike = validated_alike(record, standing)
    if alike != "same":
        key = "standing_other_rows" if alike == "rows" else "standing_other_words"
        yield Line("standing_other_base" if alike == "base" else key, "plain", {"number": number})
        return
    others = course_of(standing).validation
    if others:
        before, now = others[-1][1], course.validation[-1][1]
        key = "standing_lower" if now < (1 - NOTICED) * before else "standing_alike"
        key = "standing_higher" if now > (1 + NOTICED) * before else key
        yield Line(key, "plain", {"number": number, "before": before, "now": now})


def _training(facts: Facts) -> Iterator[Line]:
    """The training loss, where it is what there is to judge by, or says something that nothing else does."""
    course = facts.course
    if course.losses is None:
        return
    first, last = course.losses
    if course.by_heart:
        yield Line("loss_by_heart", "plain", {"first": first, "last": last})
    elif course.hardly_fell:
        yield Line("loss_hardly_fell", "plain", {"first": first, "last": last})
    elif facts.has_few_rows or not course.validation:
        yield Line("loss", "plain", {"first": first, "last": last})


def _general(facts: Facts) -> Iterator[Line]:
    course = facts.course
    if course.general is None or course.forgotten is None:
        return
    before, after = course.general
    values = {"before": before, "after": after, "up": course.forgotten}
    if "forgets" in facts.warnings:
        yield Line("forgets", "warning", values)
    else:
        yield Line("remembers", "good", values)


def _answers(facts: Facts, after: Counted) -> Iterator[Line]:
    values = {"stopped": after.stopped, "of": after.of}
    if "endless" in facts.warnings:
        yield Line("endless", "warning", values)
    else:
        yield Line("stops", "plain" if after.endless else "good", values)
    if after.repeating:
        mark: Mark = "warning" if "repeats" in facts.warnings else "plain"
        yield Line("repeats", mark, {"count": after.repeating, "of": after.of})
    if after.foreign:
        mark = "warning" if "letters" in facts.warnings else "plain"
        yield Line("letters", mark, {"count": after.foreign, "of": after.of, "words": ", ".join(after.foreign_words)})


def _habits(facts: Facts, after: Counted) -> Iterator[Line]:
    """The first habit is held against the data; the others are told."""
    before = facts.before
    for at, habit in enumerate(facts.taught.habits):
        counts = f"{after.habits[at]}/{after.of}"
        if before is not None:
            counts = f"{before.habits[at]}/{before.of} → {counts}"
        mark: Mark = "plain" if is_below(after.habits[at], after.of, TAKEN_ON * habit.share) else "good"
        yield Line(f"habit_{habit.kind}", mark, {"counts": counts, "habit": habit.text, "taught": habit.share})


def _length(facts: Facts, after: Counted) -> Iterator[Line]:
    taught = facts.taught.length
    alike = SHORT * taught <= after.length <= LIKE_LENGTH * taught
    values = {"own": after.length, "taught": taught}
    if facts.before is not None:
        key = "length" if facts.against_base else "length_standing"
        yield Line(key, "good" if alike else "plain", {**values, "before": facts.before.length})
    else:
        yield Line("length_alone", "good" if alike else "plain", values)


def _copied(facts: Facts, after: Counted) -> Iterator[Line]:
    values = {"count": after.whole, "runs": after.runs, "of": after.untaught}
    if "copied" in facts.warnings:
        yield Line("copied", "warning", values)
    elif after.whole or after.runs:
        yield Line("copied_some", "plain", values)


def _how_sure(facts: Facts) -> Iterator[Line]:
    if facts.has_few_rows:
        yield Line("few_rows", "plain", {"rows": facts.course.rows})
    if facts.after is None:
        yield Line("not_asked", "plain")
        return
    of = facts.after.of
    difference = apart(of)
    if difference is None:
        yield Line("hardly_asked", "plain", {"of": of})
    else:
        yield Line("how_sure", "plain", {"of": of, "less": of - 1, "apart": difference})


def _changed(record: Mapping[str, Any], previous: Mapping[str, Any] | None) -> Iterator[Line]:
    """How this run differs from the last one."""
    if previous is None:
        return
    own, others = record["plan"], previous["plan"]
    if own["epochs"] != others["epochs"]:
        yield Line("changed_epochs", "plain", {"before": others["epochs"], "now": own["epochs"]})
    if own["learning_rate"] != others["learning_rate"]:
        values = {"before": _rate(others["learning_rate"]), "now": _rate(own["learning_rate"])}
        yield Line("changed_rate", "plain", values)
    if own["lora_rank"] != others["lora_rank"]:
        yield Line("changed_rank", "plain", {"before": others["lora_rank"], "now": own["lora_rank"]})
    if record["data"]["fingerprint"] != previous["data"]["fingerprint"]:
        yield Line("changed_data", "plain", {"before": previous["data"]["rows"], "now": record["data"]["rows"]})
    if record["base"]["source"] != previous["base"]["source"]:
        yield Line("changed_base", "plain", {"before": previous["base"]["source"], "now": record["base"]["source"]})


def _rate(rate: float) -> str:
    """As people write it: 2e-4."""
    mantissa, exponent = f"{rate:.6e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
