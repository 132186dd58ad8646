"""Whole trainings: interrupted and gone on with, made longer, and in float16 with its scaled loss."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.gpu.checks.outcome import Failed, Outcome, Skipped, apart, loss_limit
from bench.gpu.checks.setup import PLAN, Setup
from bench.gpu.checks.step import why_not
from bench.gpu.ours import TOKENIZER, float16_on_cpus
from lora_trainer.engine.checkpoints import Checkpoints
from lora_trainer.engine.hardware import Hardware
from lora_trainer.engine.schedule import stable_steps
from lora_trainer.events import Event, StepDone
from lora_trainer.plan import TrainPlan
from lora_trainer.train import TrainResult, train

DIALOGUES = 14
"""Four steps an epoch, the last of two dialogues."""
STRAYED = 0.15
"""How far two trainings may be apart that differ in the order of their sums alone, relative to the adapter's way.

Kernels that add up as threads come have another order each time, and Adam makes a full step of what rounding left of a
gradient of almost nothing. Six steps in bfloat16 as trees and padded were 0.06 apart; without the optimizer's state,
forgotten at a checkpoint, it was 0.46.
"""


def run(
    setup: Setup,
    plan: TrainPlan,
    folder: Path,
    *,
    hardware: Hardware | None = None,
    steps: int | None = None,
    resume: bool = False,
) -> TrainResult:
    """A training of ours, ended after so many steps."""
    done: list[Event] = []
    rows = setup.rows(DIALOGUES)
    return train(
        setup.base, TOKENIZER, rows, None, plan, folder,  # type: ignore[arg-type]
        listener=done.append,
        stop=lambda: sum(isinstance(event, StepDone) for event in done) == steps,
        resume=resume,
        hardware=hardware or setup.hardware,
    )  # fmt: skip


def adapter(folder: Path) -> dict[str, Any]:
    """The tensors of an adapter's folder."""
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def way(setup: Setup, plan: TrainPlan, result: TrainResult) -> dict[str, Any]:
    """How far a training's adapter went from where it began."""
    from peft import get_peft_model_state_dict

    from lora_trainer.models.adapter import adapted_model

    # PEFT draws it in the base model's type
    model = adapted_model(setup.base, plan, setup.device, result.dtype)
    fresh = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tensor - fresh[name].cpu() for name, tensor in adapter(result.adapter).items()}


def same(setup: Setup, plan: TrainPlan, other: TrainResult, whole: TrainResult, *, exact: bool = False) -> Outcome:
    """Whether two trainings came to the same: bit for bit, or to rounding."""
    if [step for step, _ in other.losses] != [step for step, _ in whole.losses] or other.interrupted:
        raise Failed(f"steps {other.losses[0][0]} to {other.losses[-1][0]} in place of all {len(whole.losses)}")
    losses = zip(other.losses, whole.losses, strict=True)
    return Outcome(
        {
            "losses": (
                max(abs(one - two) / two for (_, one), (_, two) in losses),
                0.0 if exact else loss_limit(setup.hardware.dtype),
            ),
            "adapter": (
                apart(adapter(other.adapter), adapter(whole.adapter), way(setup, plan, whole)),
                0.0 if exact else STRAYED,
            ),
        }
    )


def in_folders(check: Callable[[Setup, Path], Outcome]) -> Callable[[Setup], Outcome]:
    """The check with a folder of its own, that is emptied afterwards."""

    def checked(setup: Setup) -> Outcome:
        with TemporaryDirectory(dir=setup.folder) as folder:
            return check(setup, Path(folder))

    return checked


@in_folders
def check_going_on(setup: Setup, folder: Path) -> Outcome:
    """A training that was stopped, and gone on with from its checkpoint, against one that wasn't."""
    plan = replace(PLAN, epochs=1.5)
    whole = run(setup, plan, folder / "whole")
    if not run(setup, plan, folder / "parts", steps=3).interrupted:
        raise Failed("it was to stop after three steps, and went on")
    return same(setup, plan, run(setup, plan, folder / "parts", resume=True), whole, exact=setup.device == "cpu")


@in_folders
def check_added_epochs(setup: Setup, folder: Path) -> Outcome:
    """Another epoch upon a training of one, from its stable checkpoint, against two from scratch."""
    longer = replace(PLAN, epochs=2.0)
    run(setup, PLAN, folder / "short")
    whole = run(setup, longer, folder / "whole")
    stable = stable_steps(PLAN.total_steps(DIALOGUES))
    checkpoints = Checkpoints(folder / "added" / "checkpoints")
    checkpoints.adopt(Checkpoints(folder / "short" / "checkpoints").at(stable), stable)
    return same(setup, longer, run(setup, longer, folder / "added", resume=True), whole, exact=setup.device == "cpu")


@in_folders
def check_loss_scaling(setup: Setup, folder: Path) -> Outcome:
    """float16 with the loss scaled: no step is lost, and one that overflows is left out and the scale brought down."""
    import torch

    from lora_trainer.engine import step_trainer

    unable = why_not(setup.device, "float16")
    if unable:
        raise Skipped(unable)
    half = replace(setup.hardware, dtype="float16")
    far_too_much = 2.0**36
    usual = step_trainer._FIRST_SCALE
    with ExitStack() as stack:
        stack.enter_context(float16_on_cpus())
        full = run(setup, PLAN, folder / "full", hardware=replace(setup.hardware, dtype="float32"))
        scaled = run(setup, PLAN, folder / "scaled", hardware=half)
        stack.callback(setattr, step_trainer, "_FIRST_SCALE", usual)
        step_trainer._FIRST_SCALE = far_too_much
        overflowing = run(setup, replace(PLAN, epochs=0.5), folder / "overflowing", hardware=half)

    def scale(result: TrainResult) -> float:
        newest = Checkpoints(result.adapter.with_name("checkpoints")).at(result.steps)
        return float(torch.load(newest / "scaler.pt", weights_only=True)["scale"])

    if scale(scaled) != usual:
        raise Failed(f"the scale went from {usual:g} to {scale(scaled):g}: steps were left out")
    if scale(overflowing) >= far_too_much:
        raise Failed("a scale that is far too large was not brought down")
    moved = way(setup, PLAN, overflowing)
    if any(tensor.abs().max() > 0 for tensor in moved.values()):
        raise Failed("a step that overflowed was taken all the same")
    losses = zip(scaled.losses, full.losses, strict=True)
    return Outcome({"losses": (max(abs(one - two) / two for (_, one), (_, two) in losses), loss_limit("float16"))})
