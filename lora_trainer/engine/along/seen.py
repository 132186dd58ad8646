"""What was seen along a run's way, read from its log."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lora_trainer.engine.along.points import Points, epochs_at
from lora_trainer.engine.along.samples import Sample
from lora_trainer.plan import TrainPlan


@dataclass(frozen=True)
class Point:
    """An adapter along the way, or the one that the run has come to."""

    step: int
    epochs: float
    adapter: str
    """Its folder in the run's."""
    val_loss: float | None
    general_loss: float | None
    """Mean loss per token (nats) on the general text; None where it wasn't taken."""


class Seen:
    """The log of a run of `dialogues` training dialogues, as far as it goes, with the general text that it read."""

    def __init__(
        self, history: Sequence[Mapping[str, Any]], plan: TrainPlan, dialogues: int, general_text: str | None = None
    ) -> None:
        self.history, self.plan, self.dialogues = history, plan, dialogues
        self.general = general_losses(history, digest_of(general_text))

    def samples(self) -> list[Sample]:
        """All answers, oldest first."""
        return [
            Sample(entry["step"], epochs_at(self.plan, entry["step"], self.dialogues), **said)
            for entry in self.history
            if "samples" in entry
            for said in entry["samples"]
        ]

    def points(self, points: Points, published: int) -> list[Point]:
        """Those on the disk, and the run's adapter, which is that after `published` steps; oldest first."""
        val_losses = {entry["step"]: entry["eval_loss"] for entry in self.history if "eval_loss" in entry}
        return [
            Point(
                step=step,
                epochs=epochs_at(self.plan, step, self.dialogues),
                adapter="adapter" if step == published else f"{points.folder.name}/{step}",
                val_loss=val_losses.get(step),
                general_loss=self.general.get(step),
            )
            for step in sorted({*points.steps(), published})
        ]

    def general_loss(self, published: int) -> tuple[float, float] | None:
        """Loss on the general text of the base model, and of the adapter after `published` steps; None where one of
        them wasn't taken."""
        if None not in self.general or published not in self.general:
            return None
        return self.general[None], self.general[published]


def digest_of(general_text: str | None) -> str:
    """What tells one page of general text from another."""
    return hashlib.sha256((general_text or "").encode()).hexdigest()[:16]


def general_losses(history: Sequence[Mapping[str, Any]], text: str) -> dict[int | None, float]:
    """Step -> mean loss per token (nats) on the page with that digest, None -> that of the base model."""
    read = [entry for entry in history if "general_loss" in entry and entry["text"] == text]
    return {None if entry["base"] else entry["step"]: entry["general_loss"] for entry in read}
