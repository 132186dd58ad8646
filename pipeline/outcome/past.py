"""Past trainings as the history tells them: how each was made, on what, what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.outcome.card import habit_count
from pipeline.outcome.validation import is_comparable
from pipeline.run.history import Run
from pipeline.run.overview import is_held, percent_kept


@dataclass(frozen=True)
class Past:
    """One run; None where its record doesn't tell."""

    number: int
    created: str
    """ISO 8601, UTC."""
    way: str
    """What it waits for, or where all is done how it was made: the text key is `history.way.<way>`."""
    made: str
    """How it was made, whatever has become of it; a key as for `way`."""
    percent: int
    """How much of its training is kept, 0 to 100."""
    added: float
    """The epochs that it was to add to another run's."""
    epochs: float
    """How long its model has learned: up to the point that was published, where that isn't the end."""
    learning_rate: float
    lora_rank: int
    rows: int | None
    val_loss: float | None
    """At the end of those epochs."""
    comparable: bool
    """Whether that can be compared with the run before it that has one."""
    habits: tuple[int, int] | None
    """In how many of how many answers it had the commonest habit of the data."""
    seconds: float | None
    """All stages together."""
    note: str
    stands: bool
    """Ollama has it under the name."""


def past_of(runs: Sequence[Run], stands: int | None) -> list[Past]:
    """The runs of one model, oldest first, of which number `stands` is the one in Ollama."""
    told: list[Past] = []
    measured: Run | None = None
    for run in runs:
        loss = val_loss(run)
        comparable = loss is None or measured is None or is_comparable(run, measured)
        told.append(_past(run, runs, loss, comparable, run.number == stands))
        measured = run if loss is not None else measured
    return told


def _past(run: Run, runs: Sequence[Run], loss: float | None, comparable: bool, stands: bool) -> Past:
    record = run.record
    percent = percent_kept(run)
    return Past(
        number=run.number,
        created=str(record.get("created") or ""),
        way=_state(run) or _made(run),
        made=_made(run),
        percent=percent,
        added=_added(run, runs),
        epochs=epochs(run),
        learning_rate=run.plan.learning_rate,
        lora_rank=run.plan.lora_rank,
        rows=(record.get("data") or {}).get("rows"),
        val_loss=loss,
        comparable=comparable,
        habits=habit_count(record),
        seconds=seconds(run),
        note=str(record.get("note") or ""),
        stands=stands,
    )


def epochs(run: Run) -> float:
    """How many epochs the model has learned that is published, or would be."""
    point = run.record.get("point")
    return float(point["epochs"]) if point else run.plan.epochs


def val_loss(run: Run) -> float | None:
    """The validation loss of that model; None where none was measured."""
    training = run.record.get("training") or {}
    losses = {step: loss for step, loss in training.get("val_losses") or () if loss is not None}
    if not losses:
        return None
    point = run.record.get("point")
    at = point["step"] if point else training.get("best_step") if run.plan.early_stop else None
    return float(losses.get(at, list(losses.values())[-1]))


def seconds(run: Run) -> float | None:
    """How long all finished stages took together."""
    return sum(stage["seconds"] for stage in run.record["stages"].values()) if run.record["stages"] else None


def _state(run: Run) -> str | None:
    """What is left to do or to decide; None where nothing is."""
    status = str(run.record["status"])
    if status in ("waiting", "declined"):
        return status
    if not run.has_done("train"):
        return "works" if status == "running" and is_held(run.folder.parent) else "unfinished"
    return None if run.publications or run.is_done else "unpublished"


def _made(run: Run) -> str:
    record = run.record
    if record.get("overwrite"):
        return "overwrite"
    strategy = record.get("strategy")
    if strategy is None:
        return "new"
    change = (record.get("data") or {}).get("change") or {}
    if change.get("new") or change.get("gone"):
        return "data"
    warm = record.get("warm_start")
    return "warm" if warm is not None and warm == record.get("parent") else str(strategy)


def _added(run: Run, runs: Sequence[Run]) -> float:
    asked = (run.record.get("request") or {}).get("add_epochs")
    if asked is not None:
        return float(asked)
    if run.record.get("warm_start") is not None:  # the earlier epochs are in the adapter that it began with
        return run.plan.epochs
    parent = next((other for other in runs if other.number == run.record.get("parent")), None)
    return max(0.0, run.plan.epochs - epochs(parent)) if parent else run.plan.epochs
