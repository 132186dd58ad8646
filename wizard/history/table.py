"""The runs of one model as lines: a head, a row for each, and what its marks mean. Nothing is loaded to draw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.outcome.past import Past
from wizard.screen.layout import cells, cut, wrap
from wizard.words import rate_text, t

WIDEST = 100
_COLUMNS = (
    "number", "date", "way", "epochs", "learning_rate", "lora_rank", "rows", "val_loss", "habits", "time", "note",
)  # fmt: skip
_LEFT = ("date", "way", "note")
_GIVEN_UP = ("lora_rank", "time", "learning_rate", "rows", "habits", "note")
"""What a narrow terminal goes without, in this order."""
_WAY, _NOTE = 16, 8
"""Cells that the words of a row are cut to, at most and at least."""
_MARK = 2
"""Cells before the first column."""


@dataclass(frozen=True)
class Signs:
    """What stands for what, as far as the terminal can show it."""

    star: str = "★"
    unlike: str = "≠"
    chosen: str = "◆"
    page: str = "📋 "
    beside: str = "🆚 "
    rule: str = "─"


PLAIN_SIGNS = Signs("*", "~", "+", "", "", "-")


@dataclass(frozen=True)
class Table:
    """The lines of a model's runs."""

    head: tuple[str, ...]
    """What it is about, and the names of the columns."""
    rows: tuple[str, ...]
    foot: tuple[str, ...]
    """What a mark in a row means; empty where none has one."""

    @property
    def lines(self) -> list[str]:
        """All of them."""
        return [*self.head, *self.rows, *self.foot]


def table(
    name: str, runs: Sequence[Past], width: int, signs: Signs, now: datetime | None = None, chosen: Sequence[int] = ()
) -> Table:
    """The runs as they are given, no line wider than `width` cells; `now` is the time that this year is taken from.

    Those whose numbers are `chosen` are marked.
    """
    width = min(width, WIDEST)
    now = now or datetime.now().astimezone()
    named = {column: t(f"history.{column}") for column in _COLUMNS}
    told = [_cells(run, signs, now) for run in runs]
    columns = [column for column in _COLUMNS if column != "note" or any(run.note for run in runs)]
    widths = {column: max(cells(row[column]) for row in [named, *told]) for column in columns}
    gap, columns = _fitted(columns, {**widths, "note": min(_NOTE, widths.get("note", 0))}, width)
    if "note" in columns:
        others = sum(widths[column] for column in columns if column != "note")
        widths["note"] = min(widths["note"], width - _MARK - others - len(gap) * (len(columns) - 1))

    def line(row: dict[str, str], mark: str) -> str:
        fitted = (_pad(cut(row[column], widths[column]), widths[column], column not in _LEFT) for column in columns)
        return (mark.ljust(_MARK - (cells(mark) - len(mark))) + gap.join(fitted)).rstrip()

    marks = [signs.chosen if run.number in chosen else signs.star if run.stands else "" for run in runs]
    foot = []
    if any(not run.comparable for run in runs):
        foot = [" " * _MARK + part for part in wrap(t("history.unlike", mark=signs.unlike), width - _MARK)]
    return Table(
        head=(*_title(name, any(run.stands for run in runs), width, signs), line(named, "")),
        rows=tuple(line(row, mark) for row, mark in zip(told, marks, strict=True)),
        foot=tuple(foot),
    )


def _fitted(columns: Sequence[str], widths: Mapping[str, int], width: int) -> tuple[str, list[str]]:
    """What stands between columns of these `widths`, and those for which there is room."""
    for left_out in range(len(_GIVEN_UP) + 1):
        kept = [column for column in columns if column not in _GIVEN_UP[:left_out]]
        for gap in ("  ", " "):
            if _MARK + sum(widths[column] for column in kept) + len(gap) * (len(kept) - 1) <= width:
                return gap, kept
    return " ", kept


def _title(name: str, stands: bool, width: int, signs: Signs) -> list[str]:
    left = signs.page + name
    right = t("history.stands", star=signs.star) if stands else ""
    room = min(width, 80) - cells(left) - cells(right)
    return [left + " " * room + right if right and room >= 2 else left]


def _cells(run: Past, signs: Signs, now: datetime) -> dict[str, str]:
    unlike = "" if run.comparable else signs.unlike
    return {
        "number": str(run.number),
        "date": moment(run.created, now),
        "way": cut(way_text(run), _WAY),
        "epochs": epochs_text(run.epochs),
        "learning_rate": rate_text(run.learning_rate),
        "lora_rank": str(run.lora_rank),
        "rows": "-" if run.rows is None else str(run.rows),
        "val_loss": "-" if run.val_loss is None else f"{unlike}{run.val_loss:.2f}",
        "habits": habits_text(run.habits),
        "time": time_text(run.seconds),
        "note": run.note,
    }


def epochs_text(epochs: float) -> str:
    """Epochs as they are counted: 3.5, 12.25."""
    return str(round(float(epochs), 2))


def way_text(run: Past) -> str:
    """What a run waits for, or how it was made, in a few words."""
    return _words(run, run.way)


def made_text(run: Past) -> str:
    """How a run was made, whatever has become of it."""
    return _words(run, run.made)


def _words(run: Past, way: str) -> str:
    return t(f"history.way.{way}", added=f"{run.added:g}", percent=run.percent)


def habits_text(habits: tuple[int, int] | None) -> str:
    """In how many of how many answers the habit of the data was seen."""
    return "-" if habits is None else f"{habits[0]}/{habits[1]}"


def time_text(seconds: float | None) -> str:
    """How long something took, in one unit."""
    if seconds is None:
        return "-"
    if seconds < 59.5:
        return t("time.seconds", seconds=round(seconds))
    if seconds < 99.5 * 60:
        return t("history.minutes", minutes=round(seconds / 60))
    return t("history.hours", hours=f"{seconds / 3600:.1f}")


def moment(utc: str, now: datetime) -> str:
    """The user's own date and time of a record's ISO 8601; of another year the date alone."""
    try:
        then = datetime.fromisoformat(utc).astimezone(now.tzinfo)
    except ValueError:
        return "-"
    return f"{then:%m-%d %H:%M}" if then.year == now.year else f"{then:%Y-%m-%d}"


def moment_of(utc: str) -> str:
    """The same as it is said now."""
    return moment(utc, datetime.now().astimezone())


def _pad(text: str, width: int, right: bool) -> str:
    blanks = " " * max(0, width - cells(text))
    return blanks + text if right else text + blanks
