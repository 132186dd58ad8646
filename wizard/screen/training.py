"""What a training run looks like while it runs: one picture on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from lora_trainer.events import Evaluated, Sampled, StepDone, TrainingStarted
from wizard.screen.curves import has_not_fallen, trend, trend_of_validation
from wizard.screen.ending import Ending, clock
from wizard.screen.layout import cells, cut, flow, shortened, wrap
from wizard.words import rate_text, t

if TYPE_CHECKING:
    from rich.console import RenderableType

LINE_FRACTION, BRIEF_FRACTION = 0.05, 0.25
LINE_SECONDS = 300.0
"""Without a terminal a line is due after a twentieth of the run, or after five minutes; briefly, after a quarter."""
CURVE, LEAST_CURVE = 24, 8
"""Columns of a curve, fewer where the terminal is narrow; below so few its word goes into a line of its own."""
LINES_OF_TWO = 30
"""On a terminal of so many lines there is room for the answers to two questions."""


def questions_with_room(lines: int) -> int:
    """How many questions are asked along the way where somebody looks at a terminal of so many lines."""
    return 2 if lines >= LINES_OF_TWO else 1


class TrainingView:
    """The state of a run of the model `name` as its events tell it; `now` gives seconds of the clock."""

    def __init__(
        self,
        started: TrainingStarted,
        name: str = "",
        *,
        details: bool = False,
        brief: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.started, self.name, self.details, self.brief, self._now = started, name, details, brief, now
        self.began = now()
        self.losses = list(started.losses)
        self.val_losses = list(started.val_losses)
        """(epoch, loss)."""
        self.samples = {sample.question: sample for sample in started.samples}
        """The last answer to each question."""
        self.last: StepDone | None = None
        self.ending = Ending()
        self.highest_rate = 0.0
        self.doing, self._doing_since = t("training.doing.begin"), self.began
        self._line_step = started.start_step
        self._line_time = -math.inf

    def turn_to(self, doing: str) -> None:
        """Something else is being done from now on; `doing` says it."""
        self.doing, self._doing_since = doing, self._now()

    def step(self, event: StepDone) -> None:
        """One optimizer step is done."""
        self.last = event
        self.losses.append(event.loss)
        self.highest_rate = max(self.highest_rate, event.learning_rate)
        self.ending.estimate(self._now(), event.seconds_left)

    def evaluated(self, event: Evaluated) -> None:
        """The validation loss was measured."""
        self.val_losses.append((event.epoch, event.loss))

    def sampled(self, event: Sampled) -> None:
        """A question was answered."""
        self.samples[event.question] = event

    def line_due(self, now: float) -> bool:
        """Whether a log wants to hear of the last step; `now` in seconds of any clock. True counts as said."""
        if self.last is None:
            return False
        ends = self.last.step == self.last.total_steps
        if self.brief:  # the end has a line of its own
            due = self.last.step - self._line_step >= BRIEF_FRACTION * self.last.total_steps and not ends
        else:
            far = self.last.step - self._line_step >= LINE_FRACTION * self.last.total_steps
            due = far or ends or now - self._line_time >= LINE_SECONDS
        if due:
            self._line_step, self._line_time = self.last.step, now
        return due

    # --- what is said in both forms

    @property
    def steps(self) -> str:
        """How many steps are done."""
        done = self.last.step if self.last else self.started.start_step
        return t("training.step", step=done, total=self.started.total_steps)

    @property
    def epochs(self) -> str:
        """How many epochs are done."""
        done = self.last.step if self.last else self.started.start_step
        of = self.started.steps_per_epoch
        return t("training.epoch", epoch=f"{done / of:.1f}", epochs=f"{self.started.total_steps / of:.1f}")

    def times(self) -> str:
        """When it began and when it is to end."""
        if self.ending.shown is None:
            return t("training.began", began=clock(self.began, self.began))
        return t("training.began_ends", began=clock(self.began, self.began), ends=clock(self.ending.shown, self.began))

    def device(self) -> str:
        """What it is computed on, as people say it."""
        kind, name = self.started.device_kind, self.started.device
        return t(f"training.device.{kind}", name=name)

    def pace(self) -> list[str]:
        """Device, tokens per second and memory, as far as they are known."""
        parts = [self.device()]
        if self.details:
            of = self.started
            parts.append(f"{of.device}, {of.dtype}, {of.trainable_parameters / 1e6:.2f}M, {of.supervised_tokens:,}")
        if self.last:
            parts.append(t("training.speed", speed=f"{self.last.tokens_per_second:,.0f}"))
            if self.last.memory:
                parts.append(t("training.memory", memory=size(self.last.memory)))
        return parts

    def curves(self) -> list[tuple[str, list[float], str]]:
        """Label, values and word of both losses, as far as there are any."""
        found = []
        if self.losses:
            course = trend(self.losses)
            found.append((t("training.loss"), self.losses, t(f"trend.{course}") if course else ""))
        if self.val_losses:
            values = [loss for _, loss in self.val_losses]
            course = trend_of_validation(values)
            word = t(f"trend.{course}") if course else ""
            if course == "falling":
                word = t("trend.falling_unseen")
            elif course == "rising":
                since = min(self.val_losses, key=lambda at: at[1])[0]
                word = t("trend.rising_since", epoch=f"{since:.1f}")
            found.append((t("training.validation"), values, word))
        return found

    def remarks(self) -> list[str]:
        """What somebody should know who sees these curves for the first time."""
        said = []
        if self.started.start_step == 0 and has_not_fallen(self.losses):
            high = self.highest_rate >= 1e-4
            key = "training.not_falling.high" if high else "training.not_falling.low"
            said.append(t(key, steps=len(self.losses), rate=rate_text(self.highest_rate)))
        if trend_of_validation([loss for _, loss in self.val_losses]) == "rising":
            said.append(t("training.rises_samples" if self.samples else "training.rises"))
        if not self.started.val_dialogues:
            said.append(t("training.no_validation"))
        return said

    # --- without a terminal

    def heading(self) -> str:
        """What is trained, on what."""
        of = self.started
        parts = [t("training.heading", dialogues=of.dialogues, steps=of.total_steps, per_epoch=of.steps_per_epoch)]
        return "  ".join([*parts, *self.pace()])

    def line(self) -> str:
        """The last step in one line."""
        parts = [self.steps, self.epochs]
        for label, values, word in self.curves():
            parts.append(f"{label} {values[-1]:.3f}" + (t("training.word", word=word) if word else ""))
        parts += self.pace()[1:]
        if self.last and self.last.step < self.last.total_steps:
            parts += [self.ending.left(self._now()), self.times()]
        return "  ".join(parts)

    def said(self, sample: Sampled) -> str:
        """A question and its answer in one line."""
        values = {"question": spoken(sample.question), "answer": _answer(sample)}
        return t("training.sampled", epoch=f"{sample.epoch:.1f}", **values)

    def result(self, stage: str, seconds: float) -> str:
        """The whole run in one line, when it is done."""
        ends = [
            t("training.from_to", what=label, first=f"{values[0]:.2f}", last=f"{values[-1]:.2f}")
            for label, values, _ in self.curves()
        ]
        done = t("stage.done", stage=stage, time=duration(seconds))
        return "  ".join([done, self.steps, *ends])

    # --- on a terminal

    def picture(self, width: int, blocks: str, spinner: str, mark: str) -> RenderableType:
        """Heading, bar, numbers and both curves for a terminal of `width` columns."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        now, room = self._now(), width - 1
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(justify="right", no_wrap=True)
        done = self.last.step if self.last else self.started.start_step
        bar.add_row(ProgressBar(total=self.started.total_steps, completed=done), Text(self.steps, "bold"))
        rows: list[RenderableType] = [*self._heading(room, mark), bar]
        parts = [self.epochs, t("training.elapsed", time=duration(now - self.began))]
        if self.ending.shown is not None and self.last and self.last.step < self.last.total_steps:
            parts.append(self.ending.left(now))
        parts.append(f"{self.doing} {spinner} {duration(now - self._doing_since)}")
        rows += [Text(line) for line in flow(parts, room)]
        rows += self._curve_rows(room, blocks)
        rows += self._sample_rows(room)
        rows += [Text(f"  {line}", "yellow") for remark in self.remarks() for line in wrap(remark, room - 2)]
        rows += [Text(line, "dim") for line in flow(self.pace(), room)]
        return Group(*rows)

    def _heading(self, room: int, mark: str) -> list[RenderableType]:
        from rich.text import Text

        title = f"{mark} {t('stage.train')} {self.name}".rstrip()
        gap = room - cells(title) - cells(self.times())
        if gap < 2:
            return [Text(title, "bold"), Text(f"  {self.times()}", "dim")]
        return [Text.assemble((title, "bold"), " " * gap, (self.times(), "dim"))]

    def _sample_rows(self, room: int) -> list[RenderableType]:
        """The last answer to each question, in two lines at most."""
        from rich.text import Text

        rows: list[RenderableType] = []
        for sample in self.samples.values():
            ask, reply = (f"  {t(f'training.{word}')}  " for word in ("question", "answer"))
            after = t("training.after", epoch=f"{sample.epoch:.1f}")
            columns = room - max(cells(ask), cells(reply))
            question = shortened(spoken(sample.question), columns - cells(after) - 2)
            rows.append(Text.assemble(ask, question, " " * (columns - cells(question) - cells(after)), (after, "dim")))
            first, *rest = wrap(_answer(sample), columns)
            rows.append(Text(reply + cut(first, columns), "bold"))
            if rest:
                second = rest[0] if len(rest) == 1 else f"{rest[0]}…"
                rows.append(Text(" " * cells(reply) + cut(second, columns), "bold"))
        return rows

    def _curve_rows(self, room: int, blocks: str) -> list[RenderableType]:
        from rich.text import Text

        found = self.curves()
        label_room = max((cells(label) for label, _, _ in found), default=0)
        word_room = max((cells(word) for _, _, word in found), default=0)
        # both numbers, and the blanks around them and the curve
        columns = room - 18 - label_room - word_room
        below = columns < LEAST_CURVE
        columns = min(CURVE, columns + word_room if below else columns)
        rows: list[RenderableType] = []
        for label, values, word in found:
            curve = sparkline(values, columns, blocks)
            row = Text.assemble(
                f"  {label}{' ' * (label_room - cells(label))}  ",
                (f"{values[0]:5.2f} ", "dim"),
                (curve + " " * (columns - len(curve)), "cyan"),
                (f" {values[-1]:.2f}", "bold"),
                "" if below else f"   {word}",
            )
            rows += [row, Text(" " * (label_room + 4) + word)] if below and word else [row]
        return rows


def spoken(text: str) -> str:
    """What a model or a row says, on one line, without what would move a terminal's cursor."""
    return " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())


def _answer(sample: Sampled) -> str:
    said = spoken(sample.answer)
    return said if sample.stopped and said else f"{said}…"


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


COUNTED = ("prove", "compare")
"""Tasks whose units are questions; those of all others are bytes."""


def amount(task: str, done: int, total: int) -> str:
    """How far a task is; without a total, and at the end, only what is done; nothing where neither is known."""
    if not done and not total:
        return ""
    if task in COUNTED:
        return f"{done} / {total}"
    return f"{size(done) if done else 0} / {size(total)}" if total > done else size(done)


def size(count: int) -> str:
    """Bytes as people read them: 1.2 GB; what is less than a kilobyte is one."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{max(1, round(count / 1e3))} KB"
