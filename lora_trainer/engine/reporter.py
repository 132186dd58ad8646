"""What is told after each optimizer step, and when to evaluate, to save and to stop."""

from __future__ import annotations

import time
from typing import Any

import torch
from transformers import TrainerCallback

from lora_trainer.engine.checkpointing import CheckpointingTrainer
from lora_trainer.engine.checkpoints import is_evaluated
from lora_trainer.engine.memory import held
from lora_trainer.engine.schedule import evaluation_steps, learning_rate, stable_steps
from lora_trainer.events import StepDone

CHECKPOINT_SECONDS = 600
"""A kill loses at most this much, where evaluations are further apart."""
_RECENT = 20
"""Steps over which the speed is averaged."""


class Reporter(TrainerCallback):
    """Tells of each step, and decides when to evaluate, to save and to stop."""

    def __init__(self, trainer: CheckpointingTrainer) -> None:
        self.trainer = trainer
        self.saved_at = time.monotonic()

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Evaluate where a run begins (the base model), and where it goes on after a stop that kept it from that."""
        trainer, step = self.trainer, state.global_step
        due = step in (0, *evaluation_steps(state.max_steps, trainer.plan.steps_per_epoch(len(trainer.rows))))
        if due and not is_evaluated(state.log_history, step):
            trainer.evaluate()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell of the step that has just been done."""
        trainer, step = self.trainer, state.global_step
        per_epoch = trainer.plan.steps_per_epoch(len(trainer.rows))
        recent = [entry for entry in state.log_history[-2 * _RECENT :] if "loss" in entry][-_RECENT:]
        seconds = sum(entry["seconds"] for entry in recent)
        evaluations = evaluation_steps(state.max_steps, per_epoch)
        measured = [entry["seconds"] for entry in state.log_history if "eval_loss" in entry and "seconds" in entry]
        evaluating = sum(at >= step for at in evaluations) * (measured[-1] if measured else 0.0)
        left = state.max_steps - step
        trainer.listener(
            StepDone(
                step=step,
                total_steps=state.max_steps,
                epoch=step / per_epoch,
                loss=recent[-1]["loss"],
                learning_rate=learning_rate(trainer.plan, step - 1, len(trainer.rows)),
                tokens_per_second=sum(entry["tokens"] for entry in recent) / seconds,
                seconds_left=left * seconds / len(recent) + (evaluating if left else 0.0),
                memory=held(args.device.type),
            )
        )
        # every process does the same, so what only one of them saw (a signal, a clock) counts for all
        due = time.monotonic() - self.saved_at > CHECKPOINT_SECONDS
        wishes = torch.tensor([trainer.stop(), due], dtype=torch.float32, device=args.device)
        trainer.sum_over_processes(wishes)
        stop, due = (wish > 0 for wish in wishes.tolist())
        # what a stop leaves out is made up for where the run goes on
        control.should_evaluate = step in evaluations and not stop
        stable = step == stable_steps(state.max_steps, trainer.plan.scheduler)
        control.should_save = control.should_evaluate or stop or due or stable
        control.should_training_stop = stop or step >= state.max_steps
        if control.should_save:
            self.saved_at = time.monotonic()
