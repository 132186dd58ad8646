"""A stop within a step or an evaluation: it ends there, the last whole step is kept, and no byte of it changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook

from lora_trainer.engine.checkpoints import Checkpoints
from lora_trainer.engine.hardware import Hardware
from lora_trainer.errors import UsageError
from lora_trainer.events import CheckpointSaved, EvaluationBegun, Event, StepBegun, StepDone
from lora_trainer.plan import TrainPlan
from lora_trainer.train import TrainResult, train
from tests.lora_trainer.test_train import CPU, PLAN, weights, with_other_answers
from tests.support.tiny import make_tiny
from tests.support.train_tiny import prepared

FEW = 40
"""Tokens of a micro-batch: so few that steps and evaluations have several."""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return prepared(make_tiny(tmp_path_factory.mktemp("base")))


@pytest.fixture(autouse=True)
def several_micro_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hardware, "token_budget", FEW)


@pytest.fixture(scope="module")
def uninterrupted(parts: Any, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hardware, "token_budget", FEW)
        return train(*parts, PLAN, tmp_path_factory.mktemp("whole"), hardware=CPU)


def stop_at(events: list[Event], kind: type[Event], step: int, times: int) -> Callable[[], bool]:
    """Asks to stop when it is asked for the `times`-th time behind that event, and ever after."""
    asked = 0

    def stop() -> bool:
        nonlocal asked
        if asked or (isinstance(events[-1], kind) and events[-1].step == step):  # type: ignore[attr-defined]
            asked += 1
        return asked >= times

    return stop


@pytest.mark.parametrize(
    ("kind", "step", "times", "kept"),
    [
        (EvaluationBegun, 0, 2, 0),
        (StepBegun, 1, 2, 0),
        (StepBegun, 6, 2, 5),
        (EvaluationBegun, 6, 2, 6),
        (EvaluationBegun, 10, 2, 10),
    ],
)
def test_a_stop_within_a_step_or_an_evaluation_changes_no_byte(
    parts: Any, uninterrupted: TrainResult, tmp_path: Path, kind: type[Event], step: int, times: int, kept: int
) -> None:
    events: list[Event] = []
    stop = stop_at(events, kind, step, times)
    first = train(*parts, PLAN, tmp_path, listener=events.append, stop=stop, hardware=CPU)
    # neither the step nor the evaluation came to its end
    begun = max(place for place, event in enumerate(events) if isinstance(event, kind))
    assert not any(isinstance(event, StepDone) for event in events[begun:])
    assert first.interrupted and first.steps == kept and not first.adapter.exists()
    assert max(Checkpoints(tmp_path / "checkpoints").steps(), default=0) == kept
    second = train(*parts, PLAN, tmp_path, resume=True, hardware=CPU)
    assert not second.interrupted
    assert second.losses == uninterrupted.losses and second.val_losses == uninterrupted.val_losses
    assert weights(second) == weights(uninterrupted)


def test_the_checkpoint_of_a_stop_within_a_step_is_that_of_the_step_before(parts: Any, tmp_path: Path) -> None:
    files = []
    for name, kind, step, times in (("after", StepDone, 5, 1), ("within", StepBegun, 6, 3)):
        events: list[Event] = []
        stop = stop_at(events, kind, step, times)
        train(*parts, PLAN, tmp_path / name, listener=events.append, stop=stop, hardware=CPU)
        folder = Checkpoints(tmp_path / name / "checkpoints").at(5)
        files.append([(folder / file).read_bytes() for file in ("adapter_model.safetensors", "optimizer.pt")])
    assert files[0] == files[1]


def test_a_stop_before_anything_new_was_learnt_writes_no_checkpoint_twice(parts: Any, tmp_path: Path) -> None:
    events: list[Event] = []
    stop = stop_at(events, StepBegun, 6, 1)
    train(*parts, PLAN, tmp_path, listener=events.append, stop=stop, hardware=CPU)
    before = (Checkpoints(tmp_path / "checkpoints").at(5)).stat().st_ino
    again: list[Event] = []
    stop = stop_at(again, StepBegun, 6, 2)
    result = train(*parts, PLAN, tmp_path, listener=again.append, stop=stop, resume=True, hardware=CPU)
    assert result.interrupted and result.steps == 5
    assert not any(isinstance(event, CheckpointSaved) for event in again)
    assert Checkpoints(tmp_path / "checkpoints").at(5).stat().st_ino == before


def test_an_evaluation_that_is_made_up_for_can_end_the_run(parts: Any, tmp_path: Path) -> None:
    base, tokenizer, rows, _ = parts
    others = with_other_answers(tokenizer, base)
    plan = replace(PLAN, epochs=6.0, lora_dropout=0.0, early_stop=True)
    whole = train(base, tokenizer, rows, others, plan, tmp_path / "whole", hardware=CPU)
    assert whole.steps < whole.total_steps
    events: list[Event] = []
    stop = stop_at(events, EvaluationBegun, whole.steps, 1)
    train(base, tokenizer, rows, others, plan, tmp_path / "run", listener=events.append, stop=stop, hardware=CPU)
    events.clear()
    result = train(
        base, tokenizer, rows, others, plan, tmp_path / "run", listener=events.append, resume=True, hardware=CPU
    )
    assert not any(isinstance(event, StepDone) for event in events)
    assert not result.interrupted and (result.steps, result.best_step) == (whole.steps, whole.best_step)
    assert weights(result) == weights(whole) and result.val_losses == whole.val_losses


@pytest.mark.parametrize("validated", [True, False])
def test_weights_that_are_no_numbers_end_the_run_and_are_never_kept(
    parts: Any, tmp_path: Path, validated: bool
) -> None:
    base, tokenizer, rows, val_rows = parts

    def spoil(optimizer: Any, *_: Any) -> None:
        optimizer.param_groups[0]["params"][0].data.fill_(float("nan"))

    handle = register_optimizer_step_post_hook(spoil)
    plan = TrainPlan(epochs=0.25, batch_size=4)
    try:
        with pytest.raises(UsageError, match="not_finite"):
            train(base, tokenizer, rows, val_rows if validated else None, plan, tmp_path, hardware=CPU)
    finally:
        handle.remove()
    assert Checkpoints(tmp_path / "checkpoints").steps() == [] and not (tmp_path / "adapter").exists()
