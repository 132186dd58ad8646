"""The program's own trainer as the bench drives it: without a tokenizer or data files, on the device asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench.gpu.data import END, PAD, Rows
from lora_trainer.engine.checkpoints import Checkpoints
from lora_trainer.engine.hardware import Hardware, detect
from lora_trainer.models.source import BaseModel
from lora_trainer.plan import TrainPlan

TOKENIZER = SimpleNamespace(pad_token_id=PAD, eos_token_id=END)
"""All that training asks of one."""


def hardware_of(device: str) -> Hardware:
    """What the program finds here; the processor where that is asked for, whatever there is beside it."""
    found = detect()
    return found if found.device == device else replace(found, device="cpu", dtype="float32", name="CPU")


def make_trainer(base: BaseModel, rows: Rows, plan: TrainPlan, folder: Path, hardware: Hardware) -> Any:
    """The StepTrainer that `train` would make, ready to train; its checkpoints go below `folder`."""
    import lora_trainer.train as room

    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoints.clear(all_of_them=True)
    arguments = room._arguments(plan, hardware, plan.total_steps(len(rows)), checkpoints)
    return room._trainer(arguments, base, TOKENIZER, rows, None, plan, checkpoints, hardware)  # type: ignore[arg-type]


@contextmanager
def float16_on_cpus() -> Iterator[None]:
    """Within, processors compute in float16 where asked to: accelerate has it, and its loss scaling, on cards alone."""
    import torch
    from transformers import Trainer

    create = Trainer.create_accelerator_and_postprocess

    def with_scaler(trainer: Any) -> None:
        create(trainer)
        if trainer.args.fp16 and trainer.args.use_cpu:
            trainer.accelerator.native_amp = True
            trainer.accelerator.scaler = torch.amp.GradScaler("cpu")

    Trainer.create_accelerator_and_postprocess = with_scaler
    try:
        yield
    finally:
        Trainer.create_accelerator_and_postprocess = create


def at_each_step(
    *, before_update: Callable[[], None] | None = None, after: Callable[[Any, Any], None] | None = None
) -> Any:
    """A callback of transformers' Trainer: `before_update` is called with the gradients there, `after` with the
    Trainer's state and control at each optimizer step's end."""
    from transformers import TrainerCallback

    class Callback(TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            if before_update:
                before_update()

        def on_step_end(self, _: Any, state: Any, control: Any, **__: Any) -> None:
            if after:
                after(state, control)

    return Callback()


def finish(device: str) -> None:
    """Wait until the device has done what it was given."""
    import torch

    if device != "cpu":
        getattr(torch, device).synchronize()
