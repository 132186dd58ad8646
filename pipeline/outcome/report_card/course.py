"""What a run's record tells of its course: how long, how the losses ran, what it cost. Needs no answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lora_trainer.plan import TrainPlan
from pipeline.strategies import advised_epochs

Trend = Literal["falling", "flat", "risen"]

NOTICED = 0.01
"""A validation loss that differs by less than this part makes no difference to anybody."""
HARDLY = 0.1
"""A training loss that has fallen by less than this part has hardly fallen."""
LEARNT, BY_HEART = 0.5, 0.3
"""Nats for a token: where a training begins below the first there may be nothing left to learn; below the second the
training answers are known by heart (three of four tokens are the first choice by far)."""


@dataclass(frozen=True)
class Course:
    """A training up to its end, or to one of the points kept along the way. Losses in nats for a token."""

    plan: TrainPlan
    rows: int
    """Training dialogues."""
    epochs: float
    """How long it has learnt."""
    afresh: bool
    """It began with a fresh adapter."""
    losses: tuple[float, float] | None
    """Training loss, mean of some of the first and of the last steps; None without steps."""
    validation: tuple[tuple[float, float], ...]
    """(epochs, validation loss), up to its end; at 0.0 it is the base model's."""
    general: tuple[float, float] | None
    """Loss on the page of general text, of the base model and of the trained one."""
    points: tuple[float, ...]
    """Epochs of the points that are kept."""
    seconds: float | None
    memory: int | None
    """Bytes at most; None where that wasn't recorded."""
    device: str = "cpu"
    """Whose memory that is; cuda is a graphics card's own."""

    @property
    def advised(self) -> tuple[float, float]:
        """Epochs (from, to) that suit so many dialogues."""
        return advised_epochs(self.rows)

    @property
    def lowest(self) -> tuple[float, float] | None:
        """(epochs, validation loss) where that was lowest, the earliest of equals; at 0.0 before the training."""
        return min(self.validation, key=lambda point: point[1], default=None)

    @property
    def trend(self) -> Trend | None:
        """Where the validation loss stands at the end: below all before it, above its lowest, or neither."""
        if len(self.validation) < 2:
            return None
        last, before = self.validation[-1][1], min(loss for _, loss in self.validation[:-1])
        if last < (1 - NOTICED) * before:
            return "falling"
        return "risen" if last > (1 + NOTICED) * before else "flat"

    @property
    def hardly_fell(self) -> bool:
        """Whether the training loss of a training from the beginning is about as high as it was."""
        if not self.afresh or self.losses is None or self.losses[0] < LEARNT:
            return False
        first, last = self.losses
        return not last < (1 - HARDLY) * first

    @property
    def by_heart(self) -> bool:
        """Whether the training answers cost hardly anything any more."""
        return self.losses is not None and self.losses[1] < BY_HEART

    @property
    def forgotten(self) -> float | None:
        """By what part the loss on general text is higher than the base model's (0.1 is a tenth)."""
        return self.general[1] / self.general[0] - 1 if self.general else None


def course_of(record: Mapping[str, Any], point: Mapping[str, Any] | None = None) -> Course:
    """The course of a trained run up to `point` (`step` and `epochs`), else to what it publishes.

    Fields that an older record doesn't have are None or empty.
    """
    plan = TrainPlan.from_json(record["plan"])
    rows = int(record["data"]["rows"])
    training = record.get("training") or {}
    per_epoch = plan.steps_per_epoch(rows)
    step, epochs = _end(record, point, plan, per_epoch)
    losses = [float(loss) for at, loss in training.get("losses") or () if at <= step and math.isfinite(loss)]
    some = max(1, min(10, len(losses) // 4))
    validation = [(at, float(loss)) for at, loss in training.get("val_losses") or () if at <= step]
    points = training.get("points") or ()
    general, after = training.get("general_loss"), None
    if general:
        own = next((kept.get("general_loss") for kept in points if kept["step"] == step), None)
        after = own if own is not None else general["after"] if step >= int(training.get("steps", step)) else None
    return Course(
        plan=plan,
        rows=rows,
        epochs=epochs,
        afresh=record.get("warm_start") is None,
        losses=(sum(losses[:some]) / some, sum(losses[-some:]) / some) if losses else None,
        validation=tuple((at / per_epoch, loss) for at, loss in validation if math.isfinite(loss)),
        general=(float(general["before"]), float(after)) if general and after is not None else None,
        points=tuple(float(kept["epochs"]) for kept in points),
        seconds=training.get("seconds"),
        memory=training.get("peak_memory"),
        device=str(training.get("device", "cpu")),
    )


def _end(
    record: Mapping[str, Any], point: Mapping[str, Any] | None, plan: TrainPlan, per_epoch: int
) -> tuple[int, float]:
    """(step, epochs) of what is looked at: a point, the step with the lowest validation loss, the last one."""
    training = record.get("training") or {}
    point = point or record.get("point")
    if point is not None:
        return int(point["step"]), float(point["epochs"])
    if plan.early_stop and training.get("best_step"):
        return int(training["best_step"]), int(training["best_step"]) / per_epoch
    return int(training.get("steps") or plan.total_steps(int(record["data"]["rows"]))), plan.epochs
