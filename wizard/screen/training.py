"""What a training run looks like while it runs: one picture on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from lora_trainer.events import Evaluated, StepDone, TrainingStarted
from wizard.words import t

if TYPE_CHECKING:
    from rich.console import RenderableType

LINE_FRACTION = 0.05
LINE_SECONDS = 300.0
"""Without a terminal a line is due after a twentieth of the run, or after five minutes."""


class TrainingView:
    """The state of a run as its events tell it."""

    def __init__(self, started: TrainingStarted) -> None:
        self.started = started
        self.losses: list[float] = []
        self.last: StepDone | None = None
        self.validation: Evaluated | None = None
        self.best: Evaluated | None = None
        self.saved_step: int | None = None
        self._line_step = started.start_step
        self._line_time = -math.inf

    def step(self, event: StepDone) -> None:
        """One optimizer step is done."""
        self.last = event
        self.losses.append(event.loss)

    def evaluated(self, event: Evaluated) -> None:
        """The validation loss was measured."""
        self.validation = event
        if event.best:
            self.best = event

    def line_due(self, now: float) -> bool:
        """Whether a log wants to hear of the last step; `now` in seconds of any clock. True counts as said."""
        if self.last is None:
            return False
        far = self.last.step - self._line_step >= LINE_FRACTION * self.last.total_steps
        due = far or self.last.step == self.last.total_steps or now - self._line_time >= LINE_SECONDS
        if due:
            self._line_step, self._line_time = self.last.step, now
        return due

    def heading(self) -> str:
        """What is trained, on what."""
        event = self.started
        return t(
            "training.heading",
            device=event.device,
            dtype=event.dtype,
            dialogues=event.dialogues,
            tokens=f"{event.supervised_tokens:,}",
            parameters=f"{event.trainable_parameters / 1e6:.2f}M",
        )

    def numbers(self) -> list[str]:
        """The last step's numbers, each with its name."""
        if self.last is None:
            return [t("training.waiting")]
        epochs = self.last.total_steps / self.started.steps_per_epoch
        parts = [
            t("training.epoch", epoch=f"{self.last.epoch:.2f}", epochs=f"{epochs:.2f}"),
            t("training.loss", loss=f"{self.last.loss:.3f}"),
        ]
        if self.validation and self.best and self.best.step != self.validation.step:
            loss, best = f"{self.validation.loss:.3f}", f"{self.best.loss:.3f}"
            parts.append(t("training.validation_best", loss=loss, best=best))
        elif self.validation:
            parts.append(t("training.validation", loss=f"{self.validation.loss:.3f}"))
        parts.append(t("training.speed", speed=f"{self.last.tokens_per_second:.0f}"))
        if self.last.step < self.last.total_steps:
            parts.append(t("training.left", time=duration(self.last.seconds_left)))
        return parts

    def line(self) -> str:
        """The last step in one line."""
        step = self.last.step if self.last else self.started.start_step
        return t("training.step", step=step, total=self.started.total_steps) + "  " + "  ".join(self.numbers())

    def picture(self, width: int, blocks: str, stopping: bool) -> RenderableType:
        """Bar, numbers and loss curve for a terminal of `width` columns."""
        from rich.columns import Columns
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        total = self.started.total_steps
        step = self.last.step if self.last else self.started.start_step
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(justify="right", no_wrap=True)
        bar.add_row(ProgressBar(total=total, completed=step), Text(t("training.step", step=step, total=total), "bold"))
        numbers = [Text(part) for part in self.numbers()]
        if self.saved_step is not None:
            numbers.append(Text(t("training.checkpoint", step=self.saved_step), "dim"))
        rows: list[RenderableType] = [bar, Columns(numbers, padding=(0, 2))]
        if len(self.losses) > 1:
            curve = sparkline(self.losses, min(60, width - 20), blocks)
            first, last = self.losses[0], self.losses[-1]
            rows.append(Text.assemble((f"{first:.3f} ", "dim"), (curve, "cyan"), (f" {last:.3f}", "bold")))
        if stopping:
            rows.append(Text(t("training.stopping"), "bold yellow"))
        return Group(*rows)


def sparkline(values: Sequence[float], width: int, blocks: str) -> str:
    """The curve of `values` in at most `width` characters of `blocks` (lowest first), each a mean over its stretch."""
    count = max(1, min(width, len(values)))
    edges = [len(values) * i // count for i in range(count + 1)]
    finite = [[v for v in values[a:b] if math.isfinite(v)] for a, b in pairwise(edges)]
    means = [sum(stretch) / len(stretch) for stretch in finite if stretch]
    if not means:
        return ""
    low, span = min(means), max(means) - min(means)
    top = len(blocks) - 1
    return "".join(blocks[round((mean - low) / span * top) if span else 0] for mean in means)


def duration(seconds: float) -> str:
    """Seconds in words: 3 分 20 秒."""
    if not math.isfinite(seconds):
        return "?"
    whole = max(0, round(seconds))
    if whole < 60:
        return t("time.seconds", seconds=whole)
    if whole < 3600:
        return t("time.minutes", minutes=whole // 60, seconds=whole % 60)
    return t("time.hours", hours=whole // 3600, minutes=whole % 3600 // 60)


COUNTED = ("prove", "demo")
"""Tasks whose units are questions; those of all others are bytes."""


def amount(task: str, done: int, total: int) -> str:
    """How far a task is; without a total, and at the end, only what is done."""
    said = str if task in COUNTED else size
    return f"{said(done)} / {said(total)}" if total > done or task in COUNTED else said(done)


def size(count: int) -> str:
    """Bytes as people read them: 1.2 GB."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} KB"
