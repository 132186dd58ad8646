"""The plan of a run, line by line: what, of what, how long, at what price, and where each of it came from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lora_trainer.plan import TrainPlan
from wizard.screen.layout import shortened
from wizard.words import rate_text, t

if TYPE_CHECKING:
    from rich.table import Table

NAMED = ("temperature", "num_ctx", "repeat_penalty")
"""Parameters that have a word of the user's own."""
SHOWN_NUMBERS = ("learning_rate", "lora_rank")
"""Numbers that always stand in the plan; the others only where somebody has changed them."""


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
    def served_system(self) -> str | None: ...
    @property
    def sources(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class PlanView:
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
    answers: int
    val_dialogues: int
    steps: int
    advised: tuple[float, float]
    """Epochs (from, to) that suit so many dialogues."""
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
    ladder: Sequence[float] = ()
    """The epochs of a ladder's rungs."""
    time: str = ""
    """How long it takes, in words; empty where that isn't known, as for the next two."""
    memory: str = ""
    disk: str = ""
    goes_on: tuple[int, float] | None = None
    """The run from whose checkpoint it goes on, and the epochs that are computed."""
    backs_up: bool = False
    """What stands is kept as a backup."""
    registers: bool = True
    corrections: int = 0
    """So many of the dialogues are answers that were put right in conversations."""


def plan_rows(view: PlanView) -> list[tuple[str, str, str]]:
    """(what, its value, where that came from), in the order in which people ask."""
    rows = [(view.name, _what(view), "")]
    kept = t("source.kept") if view.data_source == "record" else t(f"source.{view.data_source}")
    rows.append((t("plan.data"), _data(view), kept))
    rows.append((t("plan.base_model"), view.base_model, ""))
    rows += _how_long(view)
    rows.append((t("plan.numbers"), *_numbers(view)))
    if view.first_adapter is not None:
        rows.append((t("plan.begins"), t("plan.first_adapter", number=view.first_adapter), ""))
    elif view.goes_on is not None:
        number, epochs = view.goes_on
        rows.append((t("plan.begins"), t("plan.goes_on", number=number, epochs=f"{epochs:.2f}"), ""))
    elif view.choice == "continue":
        why = t("plan.updated", what=", ".join(view.updated)) if view.updated else ""
        rows.append((t("plan.begins"), t("plan.from_base"), why))
    rows += [(t(key), value, t(f"source.{source}")) for key, value, source in view.serving]
    price = [part for part in (view.memory and t("plan.memory", size=view.memory), view.disk) if part]
    if price:
        rows.append((t("plan.price"), t("word.comma").join(price), ""))
    after = (
        "plan.after.unregistered" if not view.registers else "plan.after.backup" if view.backs_up else "plan.after.new"
    )
    rows.append((t("plan.after"), t(after), ""))
    return rows


def _what(view: PlanView) -> str:
    if view.strategy:
        return t(f"strategy.{view.strategy}.title")
    return t(f"plan.choice.{view.choice}")


def _data(view: PlanView) -> str:
    files = files_text(view.files)
    key = "plan.data_and_val" if view.val_dialogues else "plan.data_only"
    counts = {"rows": view.dialogues - view.corrections, "corrected": corrected_text(view.corrections)}
    return t(key, files=files, answers=view.answers, val=view.val_dialogues, **counts)


def corrected_text(count: int) -> str:
    """How many answers that were put right in conversations come to the rows; empty for none."""
    return t("plan.corrections", count=count) if count else ""


def _how_long(view: PlanView) -> list[tuple[str, str, str]]:
    plan, record = view.plan, view.record
    low, high = view.advised
    parts = [t("plan.epochs", epochs=plan.epochs), t("plan.steps", steps=view.steps)]
    if view.ladder:
        parts[0] = t("plan.ladder", rungs=" / ".join(map(str, view.ladder)))
    if view.time:
        parts.append(view.time)
    source = _source(plan, "epochs")
    advice = t("plan.advice", dialogues=view.dialogues, low=f"{low:g}", high=f"{high:g}")
    note = t("word.comma").join(filter(None, (source, advice)))
    rows = [(t("plan.how_long"), t("word.comma").join(parts), note)]
    if view.strategy == "incremental" and record is not None and not view.on_itself and view.first_adapter is None:
        added = f"{plan.epochs - record.epochs:+.4g}"
        rows.append(("", t("plan.sum", before=record.epochs, added=added, now=plan.epochs), ""))
    return rows


def _numbers(view: PlanView) -> tuple[str, str]:
    """The numbers, and where those came from that are neither the defaults nor as they were."""
    plan, record = view.plan, view.record
    usual = TrainPlan(batch_size=plan.batch_size)
    parts, notes = [], []
    for name in (n for n in plan.sources if n != "epochs"):
        value, source = getattr(plan, name), plan.sources[name]
        before = getattr(record, name) if record is not None else getattr(usual, name)
        changed = value != before and not (name == "lora_alpha" and source == "default")
        if name not in SHOWN_NUMBERS and not changed and source in ("default", "record"):
            continue
        told = number_text(name, value)
        if record is not None and changed:
            told = f"{number_text(name, before)} → {told}"
        parts.append(f"{t(f'number.{name}')} {told}")
        if source not in ("default", "record"):
            notes.append(t("plan.number_source", number=t(f"number.{name}"), source=t(f"source.{source}")))
    rest = t("plan.rest_kept") if record is not None else t("plan.rest_default")
    return t("word.comma").join(parts), t("word.comma").join([*notes, rest]) if notes else rest


def files_text(files: Sequence[str]) -> str:
    """The folder where both files have their usual names, else the files."""
    folders = {os.path.dirname(file) for file in files}  # noqa: PTH120
    usual = {os.path.basename(file) for file in files} <= {"train.jsonl", "val.jsonl"}  # noqa: PTH119
    return f"{folders.pop()}/" if usual and len(folders) == 1 and "" not in folders else ", ".join(files)


def _source(plan: TrainPlan, name: str) -> str:
    source = plan.sources.get(name, "default")
    return t(f"source.{source}")


def number_text(name: str, value: Any) -> str:
    """A number of the plan as people write it."""
    if name == "learning_rate":
        return rate_text(value)
    if isinstance(value, bool):
        return t("word.yes" if value else "word.no")
    return f"{value:g}" if isinstance(value, float) and name != "epochs" else str(value)


def plan_table(view: PlanView) -> Table:
    """The rows on a screen."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for number, (what, value, note) in enumerate(plan_rows(view)):
        text = Text(value, "bold" if number == 0 else "")
        grid.add_row(Text(what, "bold" if number == 0 else "dim"), text.append(f"  {note}", "dim") if note else text)
    return grid


def served_rows(serving: ServingLike, system: str | None, sources: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """What a plan shows of how a model is served: (text key, value, source).

    All that comes from one source stands in one row, and of the defaults the temperature alone.
    """
    told = serving.sources
    system_source = sources["system"] if sources["system"] != "default" else "rows"
    rows = [("plan.system", shortened(system, 60) if system else t("word.none"), system_source)]
    if serving.served_system is not None:
        kept = shortened(serving.served_system, 60) if serving.served_system else t("word.none")
        rows.append(("plan.served_system", kept, "record"))
    by_source: dict[str, list[str]] = {told.get("quantize", "default"): [serving.quantize]}
    for name, value in serving.sampled_with.items():
        source = told.get(name, "record" if name in serving.parameters else "default")
        said = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if source != "default" or name == "temperature":
            word = t(f"parameter.{name}") if name in NAMED else name
            by_source.setdefault(source, []).append(f"{word} {said}")
    rows += [("plan.parameter", t("word.comma").join(said), source) for source, said in by_source.items()]
    if serving.keep_chat_template:
        rows.append(("plan.chat_template", t("plan.chat_template.own"), told.get("keep_chat_template", "record")))
    for name, count in (("license", len(serving.license)), ("messages", len(serving.messages))):
        if count:
            rows.append((f"plan.{name}", str(count), told.get(name, "record")))
    return rows
