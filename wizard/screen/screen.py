"""Screen: everything that the program shows, on a terminal alive and elsewhere line by line."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lora_trainer.errors import BaseModelError, ResourceError, UserError
from lora_trainer.events import (
    Check,
    CheckpointSaved,
    Evaluated,
    Event,
    Note,
    Progress,
    StageDone,
    StageStarted,
    StepDone,
    TrainingStarted,
)
from wizard.screen import tables
from wizard.screen.layout import paragraphs
from wizard.screen.training import TrainingView, amount, duration
from wizard.words import t

if TYPE_CHECKING:
    from rich.console import RenderableType

MARKS = {"ok": "✓", "failed": "✗", "warning": "!", "skipped": "-", "note": "·", "stage": "▶"}
PLAIN_MARKS = {"ok": "+", "failed": "x", "warning": "!", "skipped": "-", "note": "*", "stage": ">"}
STYLES = {
    "ok": "green",
    "failed": "bold red",
    "warning": "yellow",
    "skipped": "dim",
    "note": "dim",
    "stage": "bold cyan",
}
BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN_BLOCKS = "_.-=+*#@"
PROGRESS_SECONDS = 30.0
"""Without a terminal, a task is spoken of at most this often before it is done."""
REFRESH_SECONDS = 0.125
"""On a terminal, the moving part is drawn this often."""


class Screen:
    """Shows what the program says; `listen` is a Listener for every event.

    `to_stderr` leaves stdout to a JSON object, `quiet` shows nothing (all processes of a training but one), `stopping`
    tells whether a stop was asked for, so that this can be shown.
    """

    def __init__(
        self, *, to_stderr: bool = False, quiet: bool = False, stopping: Callable[[], bool] = lambda: False
    ) -> None:
        from rich.console import Console

        stream = sys.stderr if to_stderr else sys.stdout
        self.console = Console(file=stream, quiet=quiet, markup=False, highlight=False, emoji=False)
        unicode = _shows(BLOCKS + "".join(MARKS.values()), self.console.encoding)
        self._marks = MARKS if unicode else PLAIN_MARKS
        self._blocks = BLOCKS if _shows(BLOCKS, self.console.encoding) else PLAIN_BLOCKS
        self._stopping = stopping
        self._said_stopping = False
        # Lines and the moving part are written by two threads: where both write at once, half a picture stays behind.
        self._lock = threading.RLock()
        self._live: Any = None
        self._live_ended = threading.Event()
        self._running: str | None = None
        self._progress: Progress | None = None
        self._progress_started = self._progress_said = 0.0
        self._training: TrainingView | None = None

    @property
    def _width(self) -> int:
        """Where prose is broken: lines of a log are left whole."""
        return self.console.width if self.console.is_terminal else 10_000

    @property
    def training(self) -> bool:
        """Whether a training runs that ends at its next step when asked to."""
        return self._training is not None

    # --- events

    def listen(self, event: Event) -> None:
        """Show one event."""
        with self._lock:
            self._show(event)

    def _show(self, event: Event) -> None:
        match event:
            case StageStarted(stage):
                self.settle()
                self.console.print()
                self._mark("stage", t(f"stage.{stage}"), style="bold")
            case StageDone(stage, seconds, reused):
                self._end_training()
                self.settle()
                key = "stage.reused" if reused else "stage.done"
                self._mark("ok", t(key, stage=t(f"stage.{stage}"), time=duration(seconds)))
            case Check(name, "running"):
                self._running = name
                self._draw()
            case Check(name, state, key, values):
                self._running = None
                self._mark(state, t(f"check.{name}"), detail=t(key, **values) if key else "")
                self._draw()
            case Note(key, values):
                self._mark("note", t(key, **values))
            case Progress():
                self._show_progress(event)
            case TrainingStarted():
                self._training = TrainingView(event)
                self._mark("note", self._training.heading())
                self._draw()
            case StepDone() if self._training:
                self._training.step(event)
                self._show_step(self._training)
            case Evaluated() if self._training:
                self._training.evaluated(event)
                if not self.console.is_terminal:
                    self._mark("note", t("training.evaluated", epoch=f"{event.epoch:.2f}", loss=f"{event.loss:.3f}"))
            case CheckpointSaved(step) if self._training:
                self._training.saved_step = step
                if not self.console.is_terminal:
                    self._mark("note", t("training.checkpoint", step=step))

    def _show_progress(self, event: Progress) -> None:
        now = time.monotonic()
        if self._progress is None or self._progress.task != event.task:
            self._progress_started = self._progress_said = now
        done = 0 < event.total <= event.done
        if done:
            self._progress = None
            said = amount(event.task, event.total, event.total)
            detail = t("progress.done", amount=said, time=duration(now - self._progress_started))
            self._mark("ok", t(f"progress.{event.task}"), detail=detail)
        else:
            self._progress = event
            if not self.console.is_terminal and now - self._progress_said >= PROGRESS_SECONDS:
                self._progress_said = now
                self._mark("note", t(f"progress.{event.task}"), detail=amount(event.task, event.done, event.total))
        self._draw()

    def _show_step(self, training: TrainingView) -> None:
        if self.console.is_terminal:
            return
        if training.line_due(time.monotonic()):
            self._mark("note", training.line())
        if self._stopping() and not self._said_stopping:
            self._said_stopping = True
            self._mark("warning", t("training.stopping"))

    def _end_training(self) -> None:
        training, self._training = self._training, None
        if training and training.last and self.console.is_terminal:
            self._mark("note", training.line())

    # --- the moving part of a terminal

    def _draw(self) -> None:
        if not self.console.is_terminal or self.console.quiet:
            return
        if self._running is None and self._progress is None and self._training is None:
            self._stop_live()
        elif self._live is None:
            from rich.live import Live

            self._live = Live(get_renderable=self._picture, console=self.console, auto_refresh=False, transient=True)
            self._live.start(refresh=True)
            self._live_ended = threading.Event()
            threading.Thread(target=self._keep_drawing, args=(self._live, self._live_ended), daemon=True).start()

    def _keep_drawing(self, live: Any, ended: threading.Event) -> None:
        while not ended.wait(REFRESH_SECONDS):
            with self._lock:
                if not ended.is_set():
                    live.refresh()

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        rows: list[RenderableType] = []
        if self._training:
            rows.append(self._training.picture(self.console.width, self._blocks, self._stopping()))
        if self._running is not None:
            rows.append(Spinner("line", Text(t(f"check.{self._running}"))))
        if self._progress is not None:
            total = self._progress.total or None
            rows.append(Text(t(f"progress.{self._progress.task}")))
            bar = Table.grid(padding=(0, 1), expand=True)
            bar.add_column(ratio=1)
            bar.add_column(justify="right", no_wrap=True)
            progress_bar = ProgressBar(total=total, completed=self._progress.done, pulse=total is None)
            bar.add_row(progress_bar, Text(amount(self._progress.task, self._progress.done, self._progress.total)))
            rows.append(bar)
        return Group(*rows)

    def _stop_live(self) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            self._live_ended.set()
            live.stop()

    def settle(self) -> None:
        """Let nothing move any more: before a question, an error and the end."""
        with self._lock:
            self._running = self._progress = self._training = None
            self._stop_live()

    # --- lines

    def _mark(self, mark: str, text: str, *, detail: str = "", style: str = "") -> None:
        from rich.text import Text

        first, *rest = paragraphs(f"{text}  {detail}".rstrip(), self._width - 3)
        line = Text.assemble((self._marks[mark], STYLES[mark]), " ", (first, style))
        if detail and first.startswith(text):
            line.stylize("dim", len(text) + 2)
        self.console.print(line, soft_wrap=True)
        for more in rest:
            self.console.print(Text("  " + more, style), soft_wrap=True)

    def banner(self) -> None:
        """The first line of a conversation."""
        from rich.text import Text

        self.console.print(Text(t("banner.title"), "bold cyan"))
        self.console.print(Text(t("banner.about"), "dim"), soft_wrap=True)
        self.console.print()

    def note(self, key: str, **values: Any) -> None:
        """One line that stops nothing."""
        self.listen(Note(key, values))

    def review(self, review: tables.Review) -> None:
        """Everything that is decided, before it starts."""
        self.settle()
        self.console.print()
        self._mark("stage", t("review.title"), style="bold")
        for table in tables.review_tables(review):
            self.console.print(table)

    def findings(self, findings: Sequence[tables.FindingLike]) -> None:
        """What was found in the data: faults first, then notes."""
        self.settle()
        for kind, mark in (("fault", "failed"), ("note", "note")):
            lines = tables.finding_lines(findings, kind)
            if lines:
                count = sum(finding.kind == kind for finding in findings)
                self._mark("warning" if kind == "fault" else "note", t(f"data.{kind}s", count=count), style="bold")
            for line in lines:
                self._mark(mark, line)

    def history(self, rows: Sequence[tables.HistoryRow]) -> None:
        """The list of runs."""
        if rows:
            self.console.print(tables.history_table(rows))
        else:
            self.note("history.empty")

    def summary(self, summary: tables.Summary) -> None:
        """How it went, where things are and what to do next."""
        self.settle()
        self.console.print()
        key = "summary.title" if summary.registered else "summary.title_unregistered"
        self._mark("ok", t(key, name=summary.name), style="bold green")
        self.console.print(tables.summary_facts(summary, self._blocks, self.console.width))
        self.console.print()
        self.text(tables.next_steps(summary))

    def text(self, text: str) -> None:
        """Prose and, indented, commands to copy."""
        for line in paragraphs(text, self._width - 1):
            self.console.print(line, soft_wrap=True)

    def error(self, error: UserError) -> None:
        """What happened, why and what to do next; what was found in the data before it."""
        if isinstance(error, BaseModelError | ResourceError):
            # what one of several processes alone can run into ends them all, so it must be seen
            self.console.quiet = False
        self.settle()
        self.findings(error.values.get("findings", ()))
        first, _, rest = t(error.key, **error.values).partition("\n")
        self.console.print()
        self._mark("failed" if error.exit_code not in (3, 130) else "warning", first, style="bold")
        if rest:
            self.text(rest)

    def traceback(self, text: str) -> None:
        """A stack of calls, as Python writes it."""
        self.settle()
        self.console.print(text, soft_wrap=True)


def _shows(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
