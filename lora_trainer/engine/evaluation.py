"""The loss over the validation dialogues, along a run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch

from lora_trainer.data.encode import EncodedSequence
from lora_trainer.engine.checkpointing import CheckpointingTrainer, Stopped
from lora_trainer.engine.checkpoints import best_step, has_given_up
from lora_trainer.events import Evaluated, EvaluationBegun

_EVALUATED = 512
"""Validation dialogues whose token ids are in memory at a time."""


def evaluate(
    trainer: CheckpointingTrainer, nll_of: Callable[[Sequence[EncodedSequence]], torch.Tensor]
) -> dict[str, float]:
    """The mean loss per supervised token (nats), told and written into the log; nothing where there are no rows.

    `nll_of` gives this process' part of the sum of some sequences' losses, and raises ResourceError where memory holds
    not one of them. All processes have to join in. Raises Stopped, with nothing written, where a stop was asked for,
    and UsageError where the loss has stopped being a number.
    """
    if not trainer.val_rows:
        return {}
    began, step = time.perf_counter(), trainer.state.global_step
    trainer.listener(EvaluationBegun(step))
    total = 0.0
    trainer.model.eval()
    for start in range(0, len(trainer.val_rows), _EVALUATED):
        nll = nll_of([s for dialogue in trainer.val_rows[start : start + _EVALUATED] for s in dialogue.sequences])
        # what only one process saw (a signal) counts for all
        sums = torch.stack([nll, torch.full_like(nll, float(trainer.stop()))])
        trainer.sum_over_processes(sums)
        part, stops = sums.tolist()
        total += part
        if stops and start + _EVALUATED < len(trainer.val_rows):
            raise Stopped
    loss = total / trainer.val_rows.counts()[1]
    before = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    # a base model whose own loss is no number is told of by its first step
    if step and not math.isfinite(loss) and all(map(math.isfinite, before)):
        raise trainer.not_finite(step)
    seconds = time.perf_counter() - began
    trainer.state.log_history.append({"step": step, "eval_loss": loss, "seconds": seconds})
    best = best_step(trainer.state.log_history) == step and step > 0
    trainer.listener(Evaluated(step, step / trainer.plan.steps_per_epoch(len(trainer.rows)), loss, best))
    if trainer.plan.early_stop and has_given_up(trainer.state.log_history):
        trainer.control.should_training_stop = True
    return {"eval_loss": loss}
