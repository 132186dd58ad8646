"""The four strategies for an existing model, as rows, and the plan that follows from one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from lora_trainer.engine.schedule import stable_steps
from lora_trainer.events import Note
from lora_trainer.plan import TrainPlan, default_batch_size
from pipeline.request import PLAN_NUMBERS, Request

MANY_EPOCHS = 10.0
"""More epochs than this in total are asked back."""
FEW_DIALOGUES = 20
"""Below this the data are what to work on first."""
BOLD_RATE = 5e-4
"""The highest learning rate that the advice names."""


@dataclass(frozen=True)
class Advice:
    """A value worth offering for a number; what is said about it stands under `advice.<key>`."""

    key: str
    value: float


@dataclass(frozen=True)
class Strategy:
    """One row of the menu; its words stand under `strategy.<name>.title` and `strategy.<name>.about`."""

    name: str
    emoji: str
    asks: tuple[str, ...]
    presets: Mapping[str, Mapping[str, float]]
    """Sets of numbers with a name (`preset.<key>`); the first one is what `--yes` takes."""


STRATEGIES = (
    Strategy("incremental", "📈", ("add_epochs",), {}),
    Strategy(
        "retune",
        "⚙️ ",
        ("learning_rate", "lora_rank", "epochs"),
        {
            "quality": {"learning_rate": 1e-4, "lora_rank": 16, "epochs": 3.0},
            "fast": {"learning_rate": 3e-4, "lora_rank": 8, "epochs": 2.0},
        },
    ),
    Strategy("augment", "📊", ("epochs",), {}),
    Strategy("custom", "🔧", ("epochs", "learning_rate", "lora_rank"), {}),
)

ADD_EPOCHS = (Advice("add_little", 1.0), Advice("add_some", 1.5), Advice("add_much", 2.0), Advice("add_most", 3.0))
RATES = (
    Advice("rate_careful", 1e-5),
    Advice("rate_steady", 1e-4),
    Advice("rate_default", 2e-4),
    Advice("rate_bold", 5e-4),
)
RANKS = (Advice("rank_4", 4), Advice("rank_8", 8), Advice("rank_16", 16), Advice("rank_32", 32))

EPOCHS_BY_DIALOGUES = ((20, 5.0, 8.0), (50, 4.0, 6.0), (201, 3.0, 4.0))
"""Rows (below this many dialogues, epochs from, epochs to) of the data strategy; above them 2.0-3.0."""


def strategy(name: str) -> Strategy:
    """The row called `name`."""
    return next(row for row in STRATEGIES if row.name == name)


def advised_epochs(dialogues: int) -> tuple[float, float]:
    """Total epochs (from, to) that suit this many training dialogues."""
    return next(((low, high) for below, low, high in EPOCHS_BY_DIALOGUES if dialogues < below), (2.0, 3.0))


def suggestions(name: str, record: TrainPlan | None, dialogues: int) -> dict[str, float]:
    """What a strategy's questions offer first and `--yes` takes: one value for each number that it asks."""
    row = strategy(name)
    if row.presets:
        return dict(next(iter(row.presets.values())))
    if name == "incremental":
        return {"add_epochs": 1.5}
    if name == "augment":
        return {"epochs": sum(advised_epochs(dialogues)) / 2}
    known = record or TrainPlan()
    return {number: getattr(known, number) for number in row.asks}


def plan_for(
    request: Request,
    record: TrainPlan | None,
    suggested: Mapping[str, float],
    dialogues: int,
    *,
    said: Mapping[str, str] | None = None,
    new_base: bool = False,
) -> TrainPlan:
    """The numbers of the run, each with its source: the request before suggestions before the record before defaults.

    `record` is the plan of the published model that is continued, None for a new model or an unknown one. `suggested`
    are a strategy's numbers by name, `add_epochs` among them, which `--yes` accepts. `said` tells of fields of the
    request that no flag brought where they came from. On a `new_base` added epochs count alone. Raises UsageError where
    a number is out of range.
    """
    values: dict[str, Any] = {"batch_size": default_batch_size(dialogues)}
    sources = {f.name: "default" for f in fields(TrainPlan) if f.name != "sources"}

    def take(numbers: Mapping[str, Any], source: str) -> None:
        values.update(numbers)
        sources.update(dict.fromkeys(numbers, source))

    if record is not None:
        take({name: getattr(record, name) for name in (*PLAN_NUMBERS, "scheduler", "qlora")}, "record")
    added = suggested.get("add_epochs") if request.add_epochs is None else request.add_epochs
    if added is not None:
        # A warm start has the earlier epochs in its adapter, what stands in its weights.
        before = record.epochs if record and not request.warm_start and not new_base else 0.0
        take({"epochs": before + added}, "strategy")
    take({name: value for name, value in suggested.items() if name != "add_epochs"}, "strategy")
    take(request.plan_numbers(), "flag")
    if request.scheduler is not None:
        take({"scheduler": request.scheduler}, "flag")
    if request.early_stop:
        take({"early_stop": True}, "flag")
    if request.qlora or request.no_qlora:
        take({"qlora": request.qlora}, "flag")
    for name, source in (said or {}).items():
        if sources.get("epochs" if name == "ladder" else name) == "flag":
            sources["epochs" if name == "ladder" else name] = source
    if record is not None and sources["lora_alpha"] == "record" and values["lora_rank"] != record.lora_rank:
        take({"lora_alpha": 0.0}, "default")
    return TrainPlan(**values, sources=sources)


def changed_numbers(plan: TrainPlan, record: TrainPlan) -> list[str]:
    """Which of the numbers that the guide speaks of differ from the recorded ones, in its order."""
    names = ("epochs", "learning_rate", "lora_rank")
    return [name for name in names if getattr(plan, name) != getattr(record, name)]


def needs_confirmation(plan: TrainPlan) -> bool:
    """Whether the epochs are so many that they have to be confirmed."""
    return plan.epochs > MANY_EPOCHS


def warnings(plan: TrainPlan, record: TrainPlan | None, dialogues: int) -> list[Note]:
    """What is worth a second thought before this plan is trained; stops nothing."""
    notes = []
    if needs_confirmation(plan):
        notes.append(Note("note.many_epochs", {"epochs": plan.epochs}))
    if plan.learning_rate > BOLD_RATE:
        notes.append(Note("note.bold_rate", {"rate": plan.learning_rate}))
    if stable_steps(1000, plan.scheduler) == 0:
        notes.append(Note("note.schedule_knows_its_end", {"scheduler": plan.scheduler}))
    if dialogues < FEW_DIALOGUES:
        notes.append(Note("note.few_dialogues", {"dialogues": dialogues}))
    if record is not None and len(changed := changed_numbers(plan, record)) > 1:
        notes.append(Note("note.one_number_at_a_time", {"count": len(changed)}))
    return notes
