"""Screen: everything that the program shows, on a terminal alive and elsewhere line by line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lora_trainer.errors import BaseModelError, ResourceError, UserError
from wizard.screen import output
from wizard.screen.layout import paragraphs
from wizard.words import t

if TYPE_CHECKING:
    from rich.console import Console

    from lora_trainer.events import Event
    from pipeline.outcome.card import Card
    from wizard.screen.at_work import AtWork
    from wizard.screen.plan import PlanView
    from wizard.screen.tables import FindingLike, Summary

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


class Screen:
    """Shows what the program says; `listen` is a Listener for every event.

    `to_stderr` leaves stdout to a JSON object, `quiet` shows nothing (all processes of a training but one), `details`
    shows what only somebody who looks for a fault wants to see, `brief` leaves what is decided and what came of it to
    the program that started this one. `stopping` tells whether a stop was asked for, so that this can be shown, and
    `attend` is called before it is asked for the first time of a work.

    What draws is loaded when there is something to draw: the first question is to come at once.
    """

    def __init__(
        self,
        *,
        to_stderr: bool = False,
        quiet: bool = False,
        details: bool = False,
        brief: bool = False,
        stopping: Callable[[], bool] = lambda: False,
        attend: Callable[[], None] = lambda: None,
    ) -> None:
        self._stream, self._quiet, self._details = sys.stderr if to_stderr else sys.stdout, quiet, details
        self._brief = brief and not details
        self._stopping, self._attend = stopping, attend
        self._work: AtWork | None = None
        self._blocks = BLOCKS if self.shows(BLOCKS) else PLAIN_BLOCKS
        self._marks = MARKS if self.shows(BLOCKS + "".join(MARKS.values())) else PLAIN_MARKS

    @cached_property
    def console(self) -> Console:
        """What all that has more than one colour or moves is drawn on."""
        from rich.console import Console

        return Console(file=self._stream, quiet=self._quiet, markup=False, highlight=False, emoji=False)

    @property
    def _at_work(self) -> AtWork:
        if self._work is None:
            from wizard.screen.at_work import AtWork
            from wizard.screen.moving import FRAMES, PLAIN_FRAMES

            self._work = AtWork(
                self.console,
                self._mark,
                stage_mark=self._marks["stage"],
                blocks=self._blocks,
                frames=FRAMES if self.shows(FRAMES) else PLAIN_FRAMES,
                details=self._details,
                brief=self._brief,
                stopping=self._stopping,
                attend=self._attend,
            )
        return self._work

    @property
    def _width(self) -> int:
        """Where prose is broken: lines of a log are left whole."""
        return self.console.width if self.console.is_terminal else 10_000

    @property
    def training(self) -> bool:
        """Whether a training runs that ends by itself when asked to."""
        return self._work is not None and self._work.training is not None

    @property
    def stage(self) -> str:
        """The stage that is worked at; empty where there is none."""
        return self._work.work.stage if self._work is not None else ""

    @property
    def width(self) -> int:
        """Columns of the console; 80 where it is none and nothing says otherwise."""
        return self.console.width

    @property
    def blocks(self) -> str:
        """The characters of a small curve, lowest first, as this console can show them."""
        return self._blocks

    @property
    def has_signs(self) -> bool:
        """Whether this console shows stars, rules and pictures."""
        return self.shows("★≠◆─📋🆚")

    @property
    def questions_with_room(self) -> int:
        """How many questions a training may answer along the way, for the answers to be seen here."""
        from wizard.screen.training import questions_with_room

        return questions_with_room(self.console.height)

    def listen(self, event: Event) -> None:
        """Show one event."""
        self._at_work.listen(event)

    def settle(self) -> None:
        """Let nothing move any more: before a question, an error and the end."""
        if self._work is not None:
            self._work.settle()

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
        if not self._quiet:
            title, about = t("banner.title"), t("banner.about")
            painted = [output.painted(title, "1;36", self._stream), output.painted(about, "2", self._stream)]
            output.write("\n".join([*painted, "", ""]), self._stream)

    def note(self, key: str, **values: Any) -> None:
        """One line that stops nothing."""
        from lora_trainer.events import Note

        self.listen(Note(key, values))

    def plan(self, view: PlanView) -> None:
        """Everything that is decided, before it starts."""
        if self._brief:
            return
        from wizard.screen.plan import plan_table

        self.settle()
        self.console.print()
        self._mark("stage", t("plan.title"), style="bold")
        self.console.print(plan_table(view))

    def command(self, command: str) -> None:
        """The command that does what was decided."""
        from rich.text import Text

        self.console.print(Text.assemble((t("plan.command"), "dim"), "  ", command), soft_wrap=True)

    def problem(self, error: UserError) -> None:
        """What keeps an answer from being taken; it is asked again."""
        self.settle()
        self.findings(error.values.get("findings", ()))
        first, _, rest = t(error.key, **error.values).partition("\n")
        self._mark("failed", first)
        if rest:
            self.text(rest)

    def done(self, key: str, **values: Any) -> None:
        """One line that says what was done."""
        self.settle()
        self._mark("ok", t(key, **values), style="bold green")

    def warning(self, key: str, **values: Any) -> None:
        """One line that is to be seen before the work begins."""
        self._mark("warning", t(key, **values), style="yellow")

    def usable(self, facts: Mapping[str, Any]) -> None:
        """How much there is to be taught, of a data set's statistics."""
        length = round(facts["answer_characters"] / max(1, facts["turns"]))
        self._mark("ok", t("data.usable", rows=facts["rows"], answers=facts["turns"], length=length))

    def findings(self, findings: Sequence[FindingLike]) -> None:
        """What was found in the data: faults first, then notes."""
        from wizard.screen.tables import finding_lines

        self.settle()
        for kind, mark in (("fault", "failed"), ("note", "note")):
            lines = finding_lines(findings, kind)
            if lines:
                count = sum(finding.kind == kind for finding in findings)
                self._mark("warning" if kind == "fault" else "note", t(f"data.{kind}s", count=count), style="bold")
            for line in lines:
                self._mark(mark, line)

    def summary(self, summary: Summary) -> None:
        """How it went, where things are and what to do next."""
        if self._brief:
            return
        from wizard.screen.tables import next_steps, summary_facts

        self.settle()
        self.console.print()
        key = "summary.title" if summary.registered else "summary.title_unregistered"
        self._mark("ok", t(key, name=summary.name), style="bold green")
        self.console.print(summary_facts(summary, self._blocks, self.console.width))
        self.console.print()
        self.text(next_steps(summary))

    def card(self, card: Card, name: str, number: int, *, tell_next: bool = True) -> None:
        """What came out of training `number` of a model; with the next step where no menu offers it."""
        if self._brief:
            return
        from wizard.screen.card import ScreenSigns, card_lines

        self.settle()
        signs = ScreenSigns(self._marks, STYLES, self._blocks, self._marks is MARKS)
        width = self.console.width if self.console.is_terminal else None
        self.console.print()
        for line in card_lines(card, name, number, width, signs, tell_next=tell_next):
            self.console.print(line, soft_wrap=True)

    def lines(self, lines: Sequence[str], marker: str = "") -> None:
        """Lines that are broken already; a `marker` in them stands out."""
        from rich.text import Text

        self.settle()
        for line in lines:
            shown = Text(line)
            shown.highlight_words([marker] if marker else [], "bold green", case_sensitive=False)
            self.console.print(shown, soft_wrap=True)

    def shows(self, text: str) -> bool:
        """Whether the stream has these characters."""
        return output.shows(text, self._stream, unknown="utf-8")

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
