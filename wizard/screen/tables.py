"""The larger pictures: data findings and the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from wizard.commands import command
from wizard.page.browser import can_open
from wizard.screen.plan import number_text
from wizard.screen.training import duration, sparkline
from wizard.started import line
from wizard.words import t

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

SHOWN_FINDINGS = 20


class FindingLike(Protocol):
    """A fault of the data, or a note on them."""

    @property
    def kind(self) -> str: ...
    @property
    def file(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def unit(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def values(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Summary:
    """What a finished run has to say."""

    name: str
    registered: bool
    seconds: float
    losses: Sequence[tuple[int, float]]
    """(step, loss), as for val_losses."""
    val_losses: Sequence[tuple[int, float]]
    folder: Path
    modelfile: Path
    gguf: Path | None
    """The GGUF where it was kept."""
    backup: str | None
    """The tag under which the old model is kept."""
    report: Path | None = None
    """The page of the run, to be looked at in a browser; None where it couldn't be written."""
    changes: Sequence[tuple[str, Any, Any]] = ()
    """(number, before, now) against the previous run."""


def _facts() -> Table:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def finding_lines(findings: Sequence[FindingLike], kind: str) -> list[str]:
    """The findings of one kind: the first ones in words, the others as a count."""
    own = [finding for finding in findings if finding.kind == kind]
    lines = []
    for finding in own[:SHOWN_FINDINGS]:
        lines.append(f"{_place(finding)}  {t(finding.key, **finding.values)}")
    if len(own) > SHOWN_FINDINGS:
        lines.append(t(f"data.more_{kind}s", count=len(own) - SHOWN_FINDINGS))
    return lines


def _place(finding: FindingLike) -> str:
    if not finding.line:
        return finding.file
    if finding.unit == "row":
        return t("data.row", file=finding.file, number=finding.line)
    return f"{finding.file}:{finding.line}"


def summary_facts(summary: Summary, blocks: str, width: int) -> RenderableType:
    """The numbers of a finished run and where its things are."""
    from rich.style import Style
    from rich.text import Text

    facts = _facts()
    facts.add_row(t("summary.time"), duration(summary.seconds))
    for name, curve in (("loss", summary.losses), ("val_loss", summary.val_losses)):
        if curve:
            values = [loss for _, loss in curve]
            line = Text(f"{values[0]:.3f} → {values[-1]:.3f}")
            if len(values) > 2:
                line.append("  " + sparkline(values, max(10, min(40, width - 40)), blocks), "cyan")
            facts.add_row(t(f"summary.{name}"), line)
    if len(summary.val_losses) > 1:
        step, loss = min(summary.val_losses, key=lambda point: point[1])
        facts.add_row(t("summary.best"), t("summary.best_step", step=step, loss=f"{loss:.3f}"))
    for name, before, now in summary.changes:
        changed = f"{number_text(name, before)} → {number_text(name, now)}"
        facts.add_row(t("summary.changed", number=t(f"number.{name}")), changed)
    if summary.backup:
        facts.add_row(t("summary.backup"), summary.backup)
    if summary.gguf:
        facts.add_row(t("summary.gguf"), str(summary.gguf))
    if summary.report:
        # terminals that know of links open it at a click
        facts.add_row(t("summary.report"), Text(str(summary.report), Style(link=summary.report.absolute().as_uri())))
    facts.add_row(t("summary.record"), str(summary.folder))
    return facts


def next_steps(summary: Summary) -> str:
    """What to do with the model now: commands to copy."""
    name = ("--ollama_name", summary.name)
    by_hand = line(["ollama", "create", summary.name, "-f", str(summary.modelfile)])
    look = ""
    if summary.report and can_open():
        look = "\n" + t("summary.next_report", command=command(*name, "--report", "--run", summary.folder.name))
    chat = command(*name, "--chat")
    if not summary.registered:
        register = command(*name, "--register_only")
        return t("summary.next_unregistered", chat=chat, command=register, by_hand=by_hand) + look
    talk = line(["ollama", "run", summary.name])
    text = t("summary.next", command=command(*name, "--continue_train"), talk=talk, chat=chat) + look
    if summary.backup:
        text += "\n" + t("summary.next_rollback", command=command(*name, "--rollback"))
    if summary.gguf:
        text += "\n" + t("summary.next_by_hand", command=by_hand)
    return text
