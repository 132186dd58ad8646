"""The report card of a run as its record, its rows and the runs beside it have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from lora_trainer.data.dialogues import learnt_answers
from pipeline.outcome.answers import comparison_of
from pipeline.outcome.card import Card
from pipeline.outcome.points import Point, points_of
from pipeline.outcome.report_card.report import make_card
from pipeline.outcome.report_card.taught import Taught
from pipeline.outcome.report_card.warnings import preselected
from pipeline.run.history import History, Run
from pipeline.run.rows import rows_of
from pipeline.run.standing import rungs_below

_Length = TypeVar("_Length")


def judge(run: Run, history: History, standing: Run | None) -> Card | None:
    """The card of a trained run, kept in its record: with what its comparison tells, where it has one.

    `standing` is the run whose model the new one replaces, or would replace; None where there is none. No card without
    the rows that it was trained on, as of an older run: nothing is known of what it was to learn.
    """
    known = _taught(run)
    if known is None:
        return None
    taught, questions = known
    beside = _beside(run, history, standing)
    card = make_card(run.record, taught, comparison_of(run.record), questions_taught=questions, **beside)
    run.update(card=card.to_record())
    return card


def judged_points(run: Run) -> list[tuple[Point, Card | None]]:
    """The points of a run with what is known of each: the answers that were compared are those of the end."""
    points, known = points_of(run), _taught(run)
    if known is None:
        return [(point, None) for point in points]
    taught, questions = known
    cards = []
    for point in points:
        comparison = comparison_of(run.record) if point is points[-1] else None
        at = {"step": point.step, "epochs": point.epochs}
        cards.append(make_card(run.record, taught, comparison, questions_taught=questions, point=at))
    return list(zip(points, cards, strict=True))


def judged_runs(runs: Sequence[Run]) -> list[tuple[Run, Card | None]]:
    """Trained runs with what is known of each by itself; no card where its rows weren't kept."""
    return [(run, _alone(run)) for run in runs]


def best_of(judged: Sequence[tuple[_Length, Card | None]]) -> _Length:
    """Which of several lengths of a training, shortest first, is recommended: the last one, or where a warning stands
    there, the latest one without. At least one.
    """
    return judged[preselected([card.warnings if card else () for _, card in judged])][0]


def _alone(run: Run) -> Card | None:
    known = _taught(run)
    if known is None:
        return None
    taught, questions = known
    return make_card(run.record, taught, comparison_of(run.record), questions_taught=questions)


def _beside(run: Run, history: History, standing: Run | None) -> dict[str, Any]:
    before = [other for other in history.readable(run.record["name"]) if other.number < run.number]
    last = next((other for other in reversed(before) if other.has_done("train")), None)
    other = standing if standing is not None and standing.number != run.number else None
    return {
        "standing": other.record if other else None,
        "previous": last.record if last else None,
        "rungs": [(rung.plan.epochs, rung.number) for rung in rungs_below(history, run)],
    }


def _taught(run: Run) -> tuple[Taught, set[str]] | None:
    """The answers of the rows that were kept with a run, and the questions to them; None where it kept no rows."""
    data = rows_of(run)
    if data is None:
        return None
    rows = data.train
    asked = {row.messages[at - 1]["content"] for row in rows for at in row.learnt}
    return Taught(list(learnt_answers(rows))), asked
