"""The larger pictures: review, data findings, summary and history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lora_trainer.plan import TrainPlan
from wizard.screen.training import duration, sparkline
from wizard.words import rate_text, t

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
    def key(self) -> str: ...
    @property
    def values(self) -> Mapping[str, Any]: ...


class ServingLike(Protocol):
    """How a model is served."""

    @property
    def quantize(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...
    @property
    def sampled_with(self) -> Mapping[str, Any]: ...
    @property
    def keep_chat_template(self) -> bool: ...
    @property
    def license(self) -> Sequence[str]: ...
    @property
    def messages(self) -> Sequence[Mapping[str, str]]: ...
    @property
    def sources(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Review:
    """Everything that is decided before a run starts."""

    name: str
    base_model: str
    choice: str
    """new, continue or overwrite."""
    strategy: str | None
    plan: TrainPlan
    record: TrainPlan | None
    """The plan of the model that is continued."""
    dialogues: int
    val_dialogues: int
    steps: int
    system: str | None
    files: Sequence[str]
    """The files that the dialogues were read from."""
    data_source: str
    """Where the choice of these files came from: text key `source.<source>`."""
    serving: Sequence[tuple[str, str, str]]
    """(text key, value, source) of everything about the model that needs no training."""
    first_adapter: int | None = None
    """The run whose adapter this one begins with."""
    on_itself: bool = False
    """What stands is the base model: earlier epochs are in it, and only this run's are counted."""
    updated: Sequence[str] = ()
    """Libraries (name, version before → now) for whose update added epochs can't go on from a checkpoint."""


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
    changes: Sequence[tuple[str, Any, Any]] = ()
    """(number, before, now) against the previous run."""


@dataclass(frozen=True)
class HistoryRow:
    """One run in the list; None where the run did not get that far."""

    name: str
    number: int
    date: str
    status: str
    """Text key `status.<status>`."""
    epochs: float
    learning_rate: float
    lora_rank: int
    loss: float | None
    val_loss: float | None
    stands: bool = False
    """It is the one that Ollama has under the name."""


def number_text(name: str, value: Any) -> str:
    """A number of the plan as people write it."""
    if name == "learning_rate":
        return rate_text(value)
    if isinstance(value, bool):
        return t("word.yes" if value else "word.no")
    return f"{value:g}" if isinstance(value, float) and name != "epochs" else str(value)


def _facts() -> Table:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def review_tables(review: Review) -> list[RenderableType]:
    """The facts, then each number with its source."""
    from rich.table import Table
    from rich.text import Text

    plan, record = review.plan, review.record
    facts = _facts()
    facts.add_row(t("review.name"), Text.assemble((review.name, "bold"), "  ", t(f"review.choice.{review.choice}")))
    facts.add_row(t("review.base_model"), review.base_model)
    if review.strategy:
        facts.add_row(t("review.strategy"), t(f"strategy.{review.strategy}.title"))
    facts.add_row(
        t("review.data"), t("review.data_size", train=review.dialogues, val=review.val_dialogues, steps=review.steps)
    )
    files = Text(", ".join(review.files))
    facts.add_row(t("review.files"), files.append(f"  {t(f'source.{review.data_source}')}", "dim"))
    for key, value, source in review.serving:
        facts.add_row(t(key), Text(value).append(f"  {t(f'source.{source}')}", "dim"))
    if review.first_adapter is not None:
        facts.add_row(t("review.first_adapter"), t("review.first_adapter_of", number=review.first_adapter))
    elif review.strategy == "incremental" and record is not None and not review.on_itself:
        added = f"{plan.epochs - record.epochs:+.4g}"
        facts.add_row(t("number.epochs"), t("review.epochs", before=record.epochs, added=added, now=plan.epochs))
    if review.updated:
        facts.add_row(t("review.updated"), t("review.updated_by", what=", ".join(review.updated)))
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(t("review.number"), style="dim", overflow="fold")
    table.add_column(t("review.value"), justify="right", overflow="fold")
    table.add_column(t("review.source"), overflow="fold")
    for name, source in plan.sources.items():
        value = getattr(plan, name)
        usual = value is False or value == "steady"
        if usual and (record is None or getattr(record, name) == value):
            continue
        text = Text(number_text(name, value), "bold")
        if record is not None and getattr(record, name) != value:
            text = Text.assemble((number_text(name, getattr(record, name)) + " → ", "dim"), (text.plain, "bold green"))
        table.add_row(t(f"number.{name}"), text, Text(t(f"source.{source}"), "" if source != "default" else "dim"))
    return [facts, "", table]


def served_rows(serving: ServingLike, system: str | None, sources: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """What a review shows of how a model is served: (text key, value, source)."""
    told = serving.sources
    system_source = sources["system"] if sources["system"] != "default" else "rows"
    rows = [
        ("review.system", _shortened(system) if system else t("word.none"), system_source),
        ("review.quantize", serving.quantize, told.get("quantize", "default")),
    ]
    usual = [f"{name} {value:g}" for name, value in serving.sampled_with.items() if name not in serving.parameters]
    if usual:
        rows.append(("review.parameter", ", ".join(usual), "default"))
    for name, value in serving.parameters.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        rows.append(("review.parameter", f"{name} {shown}", told.get(name, "record")))
    if serving.keep_chat_template:
        rows.append(("review.chat_template", t("review.chat_template.own"), told.get("keep_chat_template", "record")))
    for name, count in (("license", len(serving.license)), ("messages", len(serving.messages))):
        if count:
            rows.append((f"review.{name}", str(count), told.get(name, "record")))
    return rows


def _shortened(text: str, limit: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[:limit] + "…"


def finding_lines(findings: Sequence[FindingLike], kind: str) -> list[str]:
    """The findings of one kind: the first ones in words, the others as a count."""
    own = [finding for finding in findings if finding.kind == kind]
    lines = []
    for finding in own[:SHOWN_FINDINGS]:
        place = f"{finding.file}:{finding.line}" if finding.line else finding.file
        lines.append(f"{place}  {t(finding.key, **finding.values)}")
    if len(own) > SHOWN_FINDINGS:
        lines.append(t(f"data.more_{kind}s", count=len(own) - SHOWN_FINDINGS))
    return lines


def summary_facts(summary: Summary, blocks: str, width: int) -> RenderableType:
    """The numbers of a finished run and where its things are."""
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
    facts.add_row(t("summary.record"), str(summary.folder))
    return facts


def next_steps(summary: Summary) -> str:
    """What to do with the model now: commands to copy."""
    command = f"python train_to_ollama.py --ollama_name {summary.name}"
    if not summary.registered:
        return t("summary.next_unregistered", command=command, name=summary.name, modelfile=summary.modelfile)
    text = t("summary.next", command=command, name=summary.name)
    if summary.backup:
        text += "\n" + t("summary.next_rollback", command=command)
    if summary.gguf:
        text += "\n" + t("summary.next_by_hand", name=summary.name, modelfile=summary.modelfile)
    return text


def history_table(rows: Sequence[HistoryRow]) -> Table:
    """All runs, the newest first within a name."""
    from rich.table import Table

    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("name", "number", "date", "status", "epochs", "learning_rate", "lora_rank", "loss", "val_loss"):
        justify = "left" if column in ("name", "date", "status") else "right"
        table.add_column(t(f"history.{column}"), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        loss, val_loss = (f"{x:.3f}" if x is not None else "-" for x in (row.loss, row.val_loss))
        table.add_row(
            row.name,
            f"★ {row.number}" if row.stands else str(row.number),
            row.date,
            t(f"status.{row.status}"),
            str(row.epochs),
            rate_text(row.learning_rate),
            str(row.lora_rank),
            loss,
            val_loss,
        )
    return table
