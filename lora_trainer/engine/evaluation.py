"""The loss over the validation dialogues, along a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from lora_trainer.data.encode import EncodedSequence
from lora_trainer.engine.checkpointing import CheckpointingTrainer
from lora_trainer.engine.checkpoints import best_step, has_given_up
from lora_trainer.events import Evaluated

_EVALUATED = 512
"""Validation dialogues whose token ids are in memory at a time."""


def evaluate(
    trainer: CheckpointingTrainer, nll_of: Callable[[Sequence[EncodedSequence]], torch.Tensor]
) -> dict[str, float]:
    """The mean loss per supervised token (nats), told and written into the log; nothing where there are no rows.

    `nll_of` gives this process' part of the sum of some sequences' losses, and raises ResourceError where memory holds
    not one of them. All processes have to join in.
    """
    if not trainer.val_rows:
        return {}
    total = 0.0
    trainer.model.eval()
    for start in range(0, len(trainer.val_rows), _EVALUATED):
        nll = nll_of([s for dialogue in trainer.val_rows[start : start + _EVALUATED] for s in dialogue.sequences])
        trainer.sum_over_processes(nll)
        total += nll.item()
    loss = total / trainer.val_rows.counts()[1]
    step = trainer.state.global_step
    trainer.state.log_history.append({"step": step, "eval_loss": loss})
    best = best_step(trainer.state.log_history) == step and step > 0
    trainer.listener(Evaluated(step, step / trainer.plan.steps_per_epoch(len(trainer.rows)), loss, best))
    if trainer.plan.early_stop and has_given_up(trainer.state.log_history):
        trainer.control.should_training_stop = True
    return {"eval_loss": loss}
