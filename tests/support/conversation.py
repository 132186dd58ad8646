"""All decisions of a run, one after the other, to be had in a terminal."""

from __future__ import annotations

import sys

from lora_trainer.errors import UsageError
from lora_trainer.plan import TrainPlan
from pipeline.serving import Serving
from train_to_ollama import guarded
from wizard import flow
from wizard.command_line import parse
from wizard.questions import Existing
from wizard.screen.screen import Screen
from wizard.screen.tables import Review, served_rows

RECORD = TrainPlan()
EXISTING = Existing(in_ollama=True, runs=2, epochs=2.0, date="2026-11-20")


def check(name: str) -> str:
    """What the pipeline gives: the canonical name or a UsageError with a proposal."""
    if not name.isascii():
        raise UsageError("error.name.illegal", name=name, proposal="linzhi")
    return name


def review(decision: flow.Decision, choice: str = "new", record: TrainPlan | None = None) -> Review:
    steps = decision.plan.total_steps(60)
    return Review(
        name="zzhua",
        base_model="base",
        choice=choice,
        strategy=decision.strategy,
        plan=decision.plan,
        record=record,
        dialogues=60,
        val_dialogues=10,
        steps=steps,
        system=None,
        files=["train.jsonl"],
        data_source="default",
        serving=served_rows(Serving(), None, {"system": "default"}),
    )


def conversation(flags: str) -> None:
    """All decisions of a run, one after the other, as the program makes them."""
    screen = Screen()

    def work() -> dict[str, object]:
        request = parse(flags.split())
        name = flow.decide_name(request, screen, ["zzhua"], check)
        choice = flow.decide_existing(request, name, EXISTING if name in ("zzhua", "foreign") else None)
        if choice == "skip":
            return {}
        record = RECORD if name == "zzhua" and choice == "continue" else None
        foreign = name if choice == "continue" and record is None else None
        base = flow.decide_base(request, screen, "recorded" if record else None, foreign)
        decision = flow.decide_plan(
            request, screen, choice, record, 60, lambda decision: review(decision, choice, record)
        )
        plan = decision.plan
        result = (name, choice, base, decision.strategy, plan.epochs, plan.learning_rate, plan.lora_rank)
        if decision.request.ladder:
            result += ("in rungs",)
        screen.text("RESULT " + " ".join(map(str, result)))
        return {}

    sys.exit(guarded(work, screen, debug=True)["exit_code"])
