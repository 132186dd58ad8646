"""Two runs of a model side by side: what differs first, then how they learned, then what they answer to the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.outcome.answers import shared_answers
from pipeline.outcome.past import Past
from pipeline.outcome.validation import is_comparable
from pipeline.run.history import Run
from pipeline.run.rows import change_since, rows_of
from wizard.history.details import data_text, lowest_text, numbers_of
from wizard.history.lines import beside, curve_text, said
from wizard.history.table import Signs, epochs_text, habits_text, made_text
from wizard.screen.layout import cells, folded, wrap
from wizard.words import t

LEAST_CURVE = 6
"""Cells of a curve, however narrow the column."""
Pair = tuple[str, str, str]
"""What is compared, of the first, of the second."""


def side_by_side(
    runs: tuple[Run, Run], pasts: tuple[Past, Past], everything: Sequence[Run], width: int, signs: Signs, blocks: str
) -> list[str]:
    """Two runs in lines of at most `width` cells; `everything` are all runs of their model, which may have been held
    against one of the two.
    """
    first, second = (t("home.run", number=p.number) + (f" {signs.star}" if p.stands else "") for p in pasts)
    title = f"{signs.beside}{runs[0].record['name']}"
    lines = [title, *beside(first, second, width), signs.rule * width]
    pairs = _pairs(runs, pasts)
    differ = [pair for pair in pairs if pair[1] != pair[2]]
    lines += [line for pair in differ for line in _line(pair, width)]
    if alike := [f"{what} {value}" for what, value, other in pairs if value == other and value]:
        lines += wrap(t("history.alike") + t("word.comma").join(alike), width)
    lines += [part for text in _changed_data(runs) for part in wrap(text, width)]
    lines.append(signs.rule * width)
    lines += [line for pair in _learned(runs, pasts, blocks, (width - 2) // 2) for line in _line(pair, width)]
    if not is_comparable(*runs):
        lines += wrap(f"{signs.unlike} {t('history.unlike_two')}", width)
    shared = shared_answers(*runs, everything)
    if not shared:
        return [*lines, signs.rule * width, *wrap(t("history.no_answers"), width)]
    for one in shared:
        lines += [signs.rule * width, *folded(f"{t('history.asks')}  {said(one.question)}", width)]
        lines += beside(said(one.first), said(one.second), width)
    return lines


def _line(pair: Pair, width: int) -> list[str]:
    what, first, second = pair
    label = f"{what}  "
    return beside(label + first, label + second, width) if cells(what) else beside(first, second, width)


def _pairs(runs: tuple[Run, Run], pasts: tuple[Past, Past]) -> list[Pair]:
    """What both were made of."""
    records = [run.record for run in runs]
    one, other = (dict(numbers_of(run)) for run in runs)
    bases = (str((record.get("base") or {}).get("source") or "-") for record in records)
    return [
        _pair(t("history.epochs"), (epochs_text(past.epochs) for past in pasts)),
        *((what, one.get(what, t("word.no")), other.get(what, t("word.no"))) for what in {**one, **other}),
        _pair(t("plan.data"), map(data_text, records)),
        _pair(t("plan.system"), (said(record.get("system") or t("word.none")) for record in records)),
        _pair(t("plan.base_model"), bases),
        _pair(t("history.way"), map(made_text, pasts)),
        _pair(t("history.note"), (past.note or "-" for past in pasts)),
    ]


def _pair(what: str, values: Iterable[str]) -> Pair:
    first, second = values
    return what, first, second


def _changed_data(runs: tuple[Run, Run]) -> list[str]:
    """How the dialogues differ, where both runs have kept theirs."""
    second = rows_of(runs[1])
    change = change_since(runs[0], second) if second is not None else None
    if change is None or not (change.new or change.gone):
        return []
    values = {"other": runs[0].number, "new": change.new, "gone": change.gone}
    return [t("history.rows_differ", number=runs[1].number, **values)]


def _learned(runs: tuple[Run, Run], pasts: tuple[Past, Past], blocks: str, room: int) -> list[Pair]:
    """What came of both, each in `room` cells."""
    trainings = [run.record.get("training") or {} for run in runs]
    told = []
    for key, name in ((t("summary.loss"), "losses"), (t("summary.val_loss"), "val_losses")):
        columns = max(LEAST_CURVE, room - cells(key) - 14)
        told.append(_pair(key, (curve_text(training.get(name), blocks, columns) or "-" for training in trainings)))
    told.append(_pair("", map(lowest_text, runs)))
    told.append(_pair(t("history.habits"), (habits_text(past.habits) for past in pasts)))
    return [pair for pair in told if any(value not in ("", "-") for value in pair[1:])]
