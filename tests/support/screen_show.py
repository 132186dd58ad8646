"""A run as its events tell it, to look at: `python -m tests.support.screen_show [zh|en] [--slow] [--wait]`."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

from lora_trainer.events import (
    Check,
    CheckpointSaved,
    Doing,
    Evaluated,
    EvaluationBegun,
    Note,
    Progress,
    Saving,
    StageDone,
    StageStarted,
    StepBegun,
    StepDone,
    TrainingStarted,
)
from lora_trainer.plan import TrainPlan
from pipeline.request import Request
from pipeline.strategies import plan_for
from wizard.screen.plan import PlanView
from wizard.screen.screen import Screen
from wizard.screen.tables import Summary
from wizard.words import use_language

RECORD = TrainPlan()
WAITS = 50
"""The step after which the picture is looked at."""


def incremental_plan() -> PlanView:
    """A model that is trained one and a half epochs further."""
    plan = plan_for(Request(), RECORD, {"add_epochs": 1.5}, 60)
    return PlanView(
        name="zzhua",
        base_model="Qwen/Qwen2.5-0.5B-Instruct",
        choice="continue",
        strategy="incremental",
        plan=plan,
        record=RECORD,
        dialogues=60,
        answers=72,
        val_dialogues=10,
        steps=plan.total_steps(60),
        advised=(3.0, 4.0),
        files=("data/train.jsonl", "data/val.jsonl"),
        data_source="record",
        serving=(("plan.system", "你是林栀，一个24岁的温柔女孩。", "rows"), ("plan.parameter", "q8_0", "default")),
        time="13 min",
        memory="2.9 GB",
        goes_on=(3, 1.94),
        backs_up=True,
    )


def summary(registered: bool = True) -> Summary:
    """A run that went well."""
    return Summary(
        name="zzhua",
        registered=registered,
        seconds=3723,
        losses=[(step, 3 * math.exp(-step / 20)) for step in range(1, 61)],
        val_losses=[(15, 2.1), (30, 1.8), (45, 1.9)],
        folder=Path("runs/zzhua/2"),
        modelfile=Path("runs/zzhua/2/Modelfile"),
        gguf=None if registered else Path("runs/zzhua/2/model.gguf"),
        backup="zzhua:backup-20261124-1" if registered else None,
        changes=[("epochs", 2.0, 3.5)],
    )


def tell_a_run(screen: Screen, pause: float = 0.0, waits: bool = False) -> None:
    """Preflight, training, export and summary; `waits` for a line on stdin when most of the training is done."""
    screen.plan(incremental_plan())
    screen.listen(StageStarted("preflight", "zzhua"))
    screen.listen(Check("name", "running"))
    screen.listen(Check("name", "ok"))
    screen.listen(Check("disk", "warning", "note.few_dialogues", {"dialogues": 3}))
    screen.listen(StageDone("preflight", 3.2))
    screen.listen(StageStarted("train", "zzhua"))
    screen.listen(Doing("model"))
    screen.listen(
        TrainingStarted(60, 0, 15, 60, 88, 12_345, "x86_64, 2 threads", "float32", 4_400_000, val_dialogues=14)
    )
    screen.listen(EvaluationBegun(0))
    screen.listen(Evaluated(0, 0.0, 3.2, best=False))
    for step in range(1, 61):
        screen.listen(StepBegun(step))
        time.sleep(pause)
        loss = 3 * math.exp(-step / 20) + 0.1 * math.sin(7 * step)
        screen.listen(StepDone(step, 60, step / 15, loss, 2e-4, 512.3, (60 - step) * 7.2, 2_900_000_000))
        if step % 15 == 0:
            screen.listen(EvaluationBegun(step))
            time.sleep(pause)
            screen.listen(Evaluated(step, step / 15, 2.0 if step > 30 else 2.2 - step / 50, step <= 30))
            screen.listen(Saving(step))
            screen.listen(CheckpointSaved(step, "checkpoints"))
        if waits and step == WAITS:
            screen.listen(StepBegun(step + 1))
            sys.stdin.readline()
    screen.listen(StageDone("train", 432))
    screen.listen(StageStarted("export", "zzhua"))
    for done in range(0, 506_000_001, 22_000_000):
        time.sleep(pause / 2)
        screen.listen(Progress("export", done, 506_000_000))
    screen.listen(StageDone("export", 33))
    screen.listen(StageDone("prove", 0, reused=True))
    screen.listen(Note("note.default_base_model", {"base_model": "Qwen/Qwen2.5-0.5B-Instruct"}))
    screen.summary(summary())


if __name__ == "__main__":
    use_language("en" if "en" in sys.argv else "zh")
    tell_a_run(Screen(), 0.1 if "--slow" in sys.argv else 0.01, "--wait" in sys.argv)
