"""transformers' Trainer with checkpoints of our own: the adapter and the optimizer, gathered where they are split.

What else a step depends on (rate, order of the data, dropout masks) is a function of the plan and the step's number, so
nothing else has to be kept.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from transformers import Trainer
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from lora_trainer.data.encode import EncodedDialogues
from lora_trainer.engine.along.points import Points
from lora_trainer.engine.checkpoints import Checkpoints, best_step
from lora_trainer.engine.schedule import stable_steps
from lora_trainer.engine.sharding import gather, shard
from lora_trainer.errors import UsageError
from lora_trainer.events import CheckpointSaved, Listener, Saving, ignore
from lora_trainer.plan import TrainPlan


class Stopped(Exception):
    """A stop was asked for within a step or an evaluation: what it has come to is thrown away, all before it stands."""


class CheckpointingTrainer(Trainer):
    """A Trainer that knows its plan and rows, speaks through events, and writes and reads our checkpoints."""

    listener: Listener = staticmethod(ignore)
    stop: Callable[[], bool] = staticmethod(lambda: False)

    rows: EncodedDialogues
    val_rows: EncodedDialogues | None
    plan: TrainPlan
    checkpoints: Checkpoints
    points: Points | None = None

    def sum_over_processes(self, value: torch.Tensor) -> None:
        """Make a tensor, in place, the sum of what all processes have there; all of them have to join in."""
        if self.args.world_size > 1:
            dist.all_reduce(value)

    def train(self, *arguments: Any, **more: Any) -> Any:
        """Train; where a stop was asked for within a step, the checkpoint is that of the step before it."""
        try:
            return super().train(*arguments, **more)
        except Stopped:
            # neither adapter nor optimizer change before a step's end: they are those of the last step's
            step = self.state.global_step
            if step and step not in self.checkpoints.steps():
                self._save_checkpoint(self.model, None)
            return None

    def leave_if_asked(self) -> None:
        """Raise Stopped where a stop was asked for; several processes leave together instead, at the step's end."""
        if self.args.world_size == 1 and self.stop():
            raise Stopped

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.listener(Saving(self.state.global_step))
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        step = self.state.global_step
        if self.args.should_save:
            self.checkpoints.complete(step)
            if self.points is not None and self.points.is_due(step):
                self.points.keep(step, self.checkpoints.at(step))
            best = best_step(self.state.log_history)
            # a longer run can go on from the end of the stable phase
            stable = stable_steps(self.state.max_steps, self.plan.scheduler)
            self.checkpoints.prune(keep=[stable] if best is None else [best, stable])
        self.accelerator.wait_for_everyone()
        self.listener(CheckpointSaved(step, str(self.checkpoints.at(step))))

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The adapter alone, and whole; PEFT is kept from asking the hub about the base model.

        Raises UsageError where it holds what is no number: nothing could go on from there.
        """
        adapter = gather({name: value for name, value in self.model.state_dict().items() if "lora_" in name})
        if not all(bool(value.isfinite().all()) for value in adapter.values()):
            raise self.not_finite(self.state.global_step)
        if self.args.should_save and output_dir:
            self.model.save_pretrained(output_dir, state_dict=adapter, save_embedding_layers=False)
            (Path(output_dir) / "README.md").unlink(missing_ok=True)

    def not_finite(self, step: int) -> UsageError:
        """What it means that a loss or a weight stopped being a number at `step`."""
        return UsageError("error.train.not_finite", step=step, learning_rate=self.plan.learning_rate)

    def _load_from_checkpoint(self, *_: Any) -> None:
        """Nothing: the adapter is there before the model is split among processes."""

    def _load_rng_state(self, *_: Any) -> None:
        """Nothing: each step sets its own, and a checkpoint of another device has others."""

    def _load_scaler(self, checkpoint: str | None) -> None:
        """Where there is one: a checkpoint of a float16 card may go on elsewhere."""
        if self.accelerator.scaler is not None:
            super()._load_scaler(checkpoint)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        optimizer = gather(self.optimizer.state_dict())
        if self.args.should_save:
            torch.save(optimizer, Path(output_dir, OPTIMIZER_NAME))
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir, SCHEDULER_NAME))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            optimizer = torch.load(Path(checkpoint, OPTIMIZER_NAME), map_location="cpu", weights_only=True)
            self.optimizer.load_state_dict(shard(optimizer, self.optimizer))
            self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint, SCHEDULER_NAME), weights_only=True))
