"""The points along the way of a run: its adapter after whole and half epochs, kept until somebody has decided."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_trainer.engine.checkpoints import adapter_fault
from lora_trainer.errors import UsageError
from pipeline.run.run import Run

FOLDER = "points"
_SAME = 1e-6
"""Epochs that differ by less are the same point: they are quotients of steps."""


@dataclass(frozen=True)
class Point:
    """One evaluation whose adapter is kept; the last one is the run's end."""

    step: int
    epochs: float
    val_loss: float | None
    """Nats per supervised token of the validation rows; None where nothing was validated."""
    adapter: Path
    """A folder in PEFT's format."""
    answers: tuple[str, ...]
    """What the model said to the questions that were asked along the way."""


def points_of(run: Run) -> list[Point]:
    """The points of a trained run whose adapter can be read, oldest first; empty where none were kept."""
    found = []
    for one in run.record.get("training", {}).get("points", ()):
        answers = tuple(str(sample["answer"]) for sample in one.get("samples") or ())
        point = Point(one["step"], one["epochs"], one.get("val_loss"), run.folder / one["adapter"], answers)
        if not adapter_fault(point.adapter):
            found.append(point)
    return found


def choose_point(run: Run, epochs: float | None) -> None:
    """Let a run export its point after so many `epochs` from now on, or its end, where that is what they are.

    None: what stands of it.

    Raises UsageError, which names the points that there are.
    """
    if epochs is None:
        if run.point != run.taught_point:
            run.update(point=run.taught_point)
        return
    steps = int(run.record["training"]["steps"])
    points = points_of(run)
    wanted = next((one for one in points if abs(one.epochs - epochs) < _SAME), None)
    if wanted is None and abs(run.plan.epochs - epochs) >= _SAME:
        known = ", ".join(f"{one.epochs:g}" for one in points if one.step != steps)
        known = ", ".join(filter(None, (known, f"{run.plan.epochs:g}")))
        raise UsageError("error.no_such_point", name=run.record["name"], number=run.number, epochs=epochs, known=known)
    take_point(run, wanted)


def take_point(run: Run, point: Point | None) -> None:
    """Let a run export this point from now on; None, or its last: its end."""
    is_end = point is None or point.step == run.record["training"]["steps"]
    wanted: dict[str, Any] | None = None
    if point is not None and not is_end:
        wanted = {"step": point.step, "epochs": point.epochs}
    if wanted != run.point:
        run.update(point=wanted)


def drop_points(run: Run, keep: Collection[int] = ()) -> None:
    """Delete the adapters of a run's points, but for the one that it exports, the one that stands, and those after
    `keep` steps; the run's own adapter stays whatever is said.

    The record is written first: a point that it tells of is whole. Raises OSError where one can't be deleted.
    """
    steps = {*keep, *(point["step"] for point in (run.point, run.taught_point) if point)}
    training = run.record.get("training", {})
    listed = training.get("points", [])
    own = training.get("adapter")
    kept = [point for point in listed if point["adapter"] == own or point["step"] in steps]
    if kept != listed:
        run.update(training={**training, "points": kept})
    folder = run.folder / FOLDER
    if not folder.is_dir():
        return
    for point in folder.iterdir():
        if point.name not in {str(step) for step in steps}:
            shutil.rmtree(point)
    if not any(folder.iterdir()):
        folder.rmdir()
