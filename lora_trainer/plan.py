"""TrainPlan: every number of one training run, decided once and handed on whole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from lora_trainer.errors import UsageError

SCHEDULERS = ("steady", "cosine", "linear", "constant")
SOURCES = ("default", "record", "strategy", "answer", "flag")


@dataclass(frozen=True)
class TrainPlan:
    """The numbers of one training run; raises UsageError where one of them is out of range."""

    epochs: float = 2.0
    """Passes over the training dialogues; fractions are meant (3.5 is three and a half)."""
    learning_rate: float = 2e-4
    """AdamW's rate on the plateau of the schedule."""
    lora_rank: int = 8
    """Rank r of the update B @ A (Hu et al., 2021, arXiv:2106.09685)."""
    lora_alpha: float = 0.0
    """The update is scaled by alpha / rank; 0 asks for 2 x rank."""
    lora_dropout: float = 0.0
    """Probability with which an input of A is dropped while training, 0 to below 1."""
    batch_size: int = 4
    """Dialogues in one optimizer step, over all processes."""
    max_length: int = 1024
    """Tokens that a sequence (prompt, answer and end of turn) may have."""
    seed: int = 42
    """Of the adapter's first values, the order of the data and the dropout masks."""
    scheduler: str = "steady"
    """How the learning rate runs, see engine/schedule.py ("steady" is warmup-stable-decay). Only steady and constant
    runs can be gone on with exactly."""
    early_stop: bool = False
    """Publish the checkpoint with the lowest validation loss in place of the last one, and end where it stays so."""
    qlora: bool = False
    """The frozen base model in 4 bits while training; what is published is made of its own weights."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where each number came from: default, record, strategy, answer or flag."""

    def __post_init__(self) -> None:
        if self.lora_alpha == 0:
            object.__setattr__(self, "lora_alpha", 2.0 * self.lora_rank)
        ranges: dict[str, tuple[float, float]] = {
            "epochs": (0.01, 1000),
            "learning_rate": (1e-8, 1),
            "lora_rank": (1, 1024),
            "lora_alpha": (1e-3, 1e5),
            "lora_dropout": (0, 0.99),
            "batch_size": (1, 4096),
            "max_length": (16, 1 << 20),
            "seed": (0, 2**32 - 1),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not math.isfinite(value) or not low <= value <= high:
                raise UsageError("error.plan.range", name=name, value=value, low=low, high=high)
        if self.scheduler not in SCHEDULERS:
            raise UsageError("error.plan.scheduler", value=self.scheduler, choices=", ".join(SCHEDULERS))
        for name, source in self.sources.items():
            if source not in SOURCES:
                raise ValueError(f"{name}: unknown source {source!r}")

    def steps_per_epoch(self, dialogues: int) -> int:
        """Optimizer steps in one pass over `dialogues` training dialogues; the last one may be smaller."""
        return max(1, math.ceil(dialogues / self.batch_size))

    def total_steps(self, dialogues: int) -> int:
        """Optimizer steps of the whole run, at least one."""
        return max(1, round(self.epochs * self.steps_per_epoch(dialogues)))

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        return {**asdict(self), "sources": dict(self.sources)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainPlan:
        """Read what `to_json` wrote; fields that a later version dropped are passed over. Raises UsageError as ever."""
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


def default_batch_size(dialogues: int) -> int:
    """Dialogues in one optimizer step: 4 up to 100 rows, 8 up to 1000, 16 above."""
    return 4 if dialogues <= 100 else 8 if dialogues <= 1000 else 16
