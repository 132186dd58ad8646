"""What is shown while the program works: a picture that moves on a terminal, elsewhere now and then a line."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lora_trainer.events import (
    Check,
    CheckpointSaved,
    Doing,
    Evaluated,
    EvaluationBegun,
    Event,
    Note,
    Progress,
    Sampled,
    Saving,
    StageDone,
    StageStarted,
    StepBegun,
    StepDone,
    TrainingStarted,
)
from wizard.screen.layout import flow
from wizard.screen.moving import REFRESH_SECONDS, Moving, frame
from wizard.screen.training import TrainingView, amount, duration
from wizard.words import t

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PROGRESS_SECONDS = 30.0
"""Without a terminal, a task is spoken of at most this often before it is done."""
MOST_COLUMNS = 80
"""Of the moving part, however wide the terminal is."""


class Work:
    """What is worked at: the stage, of which model, and what of it is done just now (for how long, by time.monotonic).

    `between`: a stage has ended, and the next one, or the end, is near.
    """

    def __init__(self, stage: str = "", name: str = "", *, between: bool = False) -> None:
        self.stage, self.name, self.between = stage, name, between
        self.checked = 0
        self.doing, self.since = "", time.monotonic()

    def turn_to(self, doing: str) -> None:
        """Something else is being done from now on; `doing` says it."""
        self.doing, self.since = doing, time.monotonic()

    @property
    def is_something(self) -> bool:
        """Whether there is any."""
        return bool(self.stage or self.doing or self.between)


class AtWork:
    """Listens to the events of a work and shows it; `mark` prints a line with a mark in front.

    On a terminal that can, a picture is drawn in place; `details` (a fault is looked for) prints all its lines as well,
    `brief` elsewhere, too, none but those that stay on a terminal, and now and then how far a training is.
    `stopping` tells whether a stop was asked for; `attend` is called when a work begins, before that is asked.
    """

    def __init__(
        self,
        console: Console,
        mark: Callable[..., None],
        *,
        stage_mark: str,
        blocks: str,
        frames: str,
        details: bool,
        brief: bool,
        stopping: Callable[[], bool],
        attend: Callable[[], None],
    ) -> None:
        self.console, self._mark, self._details = console, mark, details
        self._stage_mark, self._blocks, self._frames = stage_mark, blocks, frames
        self._stopping, self._attend = stopping, attend
        self._said_stopping = False
        # Lines and the moving part are written by two threads: where both write at once, half a picture stays behind.
        self._lock = threading.RLock()
        self._moving = Moving(console, self._picture, self._lock)
        self._moves = console.is_terminal and not console.is_dumb_terminal and not console.quiet
        self._brief = brief and not details
        self._tells = not self._moves and not self._brief
        self._watch: threading.Event | None = None
        self.work = Work()
        self.training: TrainingView | None = None
        self._progress: Progress | None = None
        self._progress_started = self._progress_said = 0.0

    def listen(self, event: Event) -> None:
        """Show one event."""
        with self._lock:
            self._show(event)
            self._draw()
            if self.training and not self._moves:
                self._say_stopping()

    def _show(self, event: Event) -> None:
        match event:
            case StageStarted(stage, name):
                self._end_stage()
                self.work = Work(stage, name)
                if self._tells:
                    self.console.print()
                    self._mark("stage", f"{t(f'stage.{stage}')} {name}".rstrip(), style="bold")
            case StageDone(stage, seconds, reused):
                self._show_done(stage, seconds, reused)
            case Check(name, "running"):
                self.work.turn_to(t("doing.check", what=t(f"check.{name}")))
            case Check(name, state, key, values):
                self.work.turn_to("")
                if state in ("ok", "skipped") and self.work.stage == "preflight" and self._few:
                    self.work.checked += state == "ok"
                else:
                    self._mark(state, t(f"check.{name}"), detail=t(key, **values) if key else "")
            case Doing(what):
                self.work.turn_to(t(f"doing.{what}"))
                if self.training:
                    self.training.turn_to(t(f"doing.{what}"))
            case Note(key, values):
                if not self._brief:
                    self._mark("note", t(key, **values))
            case Progress():
                self._show_progress(event)
            case TrainingStarted():
                self.training = TrainingView(event, self.work.name, details=self._details, brief=self._brief)
                if self._tells:
                    self._mark("note", self.training.heading())
                    for remark in self.training.remarks():
                        self._mark("note", remark)
            case _ if self.training:
                self._show_training(self.training, event)

    def _show_training(self, training: TrainingView, event: Event) -> None:
        match event:
            case StepBegun(step):
                training.turn_to(t("training.doing.step", step=step))
            case StepDone():
                training.step(event)
                if not self._moves and training.line_due(time.monotonic()):
                    self._mark("note", training.line())
            case EvaluationBegun():
                training.turn_to(t("training.doing.evaluate"))
            case Evaluated():
                training.evaluated(event)
                if self._tells:
                    self._mark("note", t("training.evaluated", epoch=f"{event.epoch:.2f}", loss=f"{event.loss:.3f}"))
            case Sampled():
                training.sampled(event)
                if self._tells:
                    self._mark("note", training.said(event))
            case Saving():
                training.turn_to(t("training.doing.save"))
            case CheckpointSaved(step):
                training.turn_to(t("training.doing.next"))
                if self._tells:
                    self._mark("note", t("training.checkpoint", step=step))

    @property
    def _few(self) -> bool:
        """Whether of what went well only the sum is told."""
        return self._brief or (self._moves and not self._details)

    def _show_done(self, stage: str, seconds: float, reused: bool) -> None:
        training, checked, name = self.training, self.work.checked, self.work.name
        self._end_stage()
        if reused:
            self._mark("ok", t("stage.reused", stage=t(f"stage.{stage}")))
        elif stage == "preflight" and self._few:
            if checked:
                self._mark("ok", t("stage.checked", count=checked, time=duration(seconds)))
        elif training and training.last:
            if self._tells:
                for remark in training.remarks():
                    self._mark("note", remark)
            self._mark("ok", training.result(f"{t('stage.train')} {name}".rstrip(), seconds))
        else:
            self._mark("ok", t("stage.done", stage=t(f"stage.{stage}"), time=duration(seconds)))

    def _show_progress(self, event: Progress) -> None:
        now = time.monotonic()
        if self._progress is None or self._progress.task != event.task:
            self._progress_started = self._progress_said = now
        done = 0 < event.total <= event.done
        if done:
            self._progress = None
            said = amount(event.task, event.total, event.total)
            # where its stage is a line of its own, that says it
            if not (self._few and self.work.stage) or self._details or event.task == "download":
                detail = t("progress.done", amount=said, time=duration(now - self._progress_started))
                self._mark("ok", t(f"progress.{event.task}"), detail=detail)
        else:
            self._progress = event
            if self._tells and now - self._progress_said >= PROGRESS_SECONDS:
                self._progress_said = now
                self._mark("note", t(f"progress.{event.task}"), detail=amount(event.task, event.done, event.total))

    def _say_stopping(self) -> None:
        if not self._said_stopping and self._stopping():
            self._said_stopping = True
            self._mark("warning", t("training.stopping"))

    def _end_stage(self) -> None:
        """What is moving belongs to a stage that is over; something goes on moving until the next one, or the end."""
        self._progress = self.training = None
        self.work = Work(between=bool(self.work.stage) or self.work.between)

    # --- the moving part of a terminal

    def _draw(self) -> None:
        if not (self.work.is_something or self._progress or self.training):
            self._moving.stop()
        elif self._moves:
            if not self._moving.is_on:
                self._attend()
                self._moving.start()
        elif self._watch is None and self.training and not self.console.quiet:
            self._attend()
            self._watch = threading.Event()
            threading.Thread(target=self._keep_listening, args=(self._watch,), daemon=True).start()

    def _keep_listening(self, ended: threading.Event) -> None:
        """Without a moving part: say that Ctrl-C was heard, whatever the work is busy with."""
        while not ended.wait(REFRESH_SECONDS):
            with self._lock:
                if not ended.is_set() and self.training:
                    self._say_stopping()

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.constrain import Constrain
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        work, spinner, room = self.work, frame(self._frames), min(self.console.width, MOST_COLUMNS)
        rows: list[RenderableType] = []
        if self.training:
            rows.append(self.training.picture(room, self._blocks, spinner, self._stage_mark))
        elif work.stage:
            rows.append(Text(f"{self._stage_mark} {t(f'stage.{work.stage}')} {work.name}".rstrip(), "bold"))
        if self._progress is not None:
            total = self._progress.total or None
            said = amount(self._progress.task, self._progress.done, self._progress.total)
            seconds = duration(time.monotonic() - self._progress_started)
            rows.append(Text(f"  {t(f'progress.{self._progress.task}')} {spinner} {seconds}"))
            if said:
                bar = Table.grid(padding=(0, 1), expand=True)
                bar.add_column(ratio=1)
                bar.add_column(justify="right", no_wrap=True)
                bar.add_row(ProgressBar(total=total, completed=self._progress.done, pulse=total is None), Text(said))
                rows.append(bar)
        elif not self.training:
            rows.append(Text(f"  {work.doing or t('doing.begin')} {spinner} {duration(time.monotonic() - work.since)}"))
        if self._stopping():
            rows.append(Text(t("training.stopping" if self.training else "doing.stopping"), "bold yellow"))
        elif work.stage:
            how = t("training.how_to_stop" if self.training else "doing.how_to_stop")
            rows += [Text(line, "dim") for line in flow([how], room)]
        return Constrain(Group(*rows), room)

    def settle(self) -> None:
        """Let nothing move any more: before a question, an error and the end."""
        with self._lock:
            self._progress = self.training = None
            self.work = Work()
            if self._watch is not None:
                self._watch.set()
                self._watch = None
            self._moving.stop()
