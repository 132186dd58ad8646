"""What a run does at which step: a function of the plan and the step's number alone, whatever happened before."""

from __future__ import annotations

import math
from array import array
from functools import lru_cache
from random import Random

from lora_trainer.plan import TrainPlan


def learning_rate(plan: TrainPlan, step: int, dialogues: int) -> float:
    """The rate of optimizer step `step` (0-based)."""
    total, per_epoch = plan.total_steps(dialogues), plan.steps_per_epoch(dialogues)
    return plan.learning_rate * rate_factor(step, total, per_epoch, plan.scheduler)


def evaluation_steps(total_steps: int, steps_per_epoch: int) -> list[int]:
    """After how many steps the validation loss is taken and a checkpoint kept.

    Every half epoch, four times over the run at least (where it has four steps), and at the end.
    """
    interval = max(1.0, min(steps_per_epoch / 2, total_steps / 4))
    regular = {math.ceil(i * interval) for i in range(1, int(total_steps / interval) + 1)}
    return sorted(regular | {*half_epochs(total_steps, steps_per_epoch), total_steps})


def half_epochs(total_steps: int, steps_per_epoch: int) -> list[int]:
    """After how many steps each half epoch and each whole one is over, as far as the run goes."""
    count = 2 * total_steps // steps_per_epoch
    return sorted({math.ceil(i * steps_per_epoch / 2) for i in range(1, count + 1)})


def step_dialogues(plan: TrainPlan, step: int, dialogues: int) -> list[int]:
    """The indices of the dialogues of optimizer step `step` (0-based).

    Every epoch is a permutation of its own; its last step holds what is left.
    """
    epoch, position = divmod(step, plan.steps_per_epoch(dialogues))
    return _order(dialogues, plan.seed, epoch)[position * plan.batch_size : (position + 1) * plan.batch_size].tolist()


@lru_cache(maxsize=2)
def _order(dialogues: int, seed: int, epoch: int) -> array[int]:
    order = array("i", range(dialogues))
    # seeded with a text: Python keeps what follows from it the same on every machine and version
    Random(f"{seed} {epoch}").shuffle(order)
    return order


def dropout_seed(plan: TrainPlan, step: int, process: int) -> int:
    """The seed of the dropout masks of one process in one step."""
    return (plan.seed << 31) ^ (step << 8) ^ process


def stable_steps(total_steps: int, scheduler: str = "steady") -> int:
    """After how many optimizer steps a run's length begins to tell: a longer run is the same one up to there.

    Of warmup, stable phase and decay ("steady") that is the end of the second: the decay is the run's last eighth. The
    constant schedule never decays; the others know their end from the start.
    """
    return {"steady": total_steps - max(1, total_steps // 8), "constant": total_steps}.get(scheduler, 0)


def rate_factor(step: int, total_steps: int, steps_per_epoch: int, scheduler: str = "steady") -> float:
    """The learning rate's factor for optimizer step `step` (0-based) of `total_steps`.

    All schedules warm up over a tenth of one epoch's steps. "steady" is warmup-stable-decay (Hu et al., 2024,
    arXiv:2404.06395): a constant rate, then a linear decay over the last eighth of the run; only the decay knows the
    run's length, so that a longer run begins exactly like a shorter one. "cosine" is half a period down to zero
    (Loshchilov and Hutter, 2017, arXiv:1608.03983), "linear" falls from the end of the warmup on.
    """
    warmup = max(1, math.ceil(steps_per_epoch / 10))
    left = (total_steps - step) / (total_steps - min(warmup, total_steps) + 1)
    falling = {
        "steady": (total_steps - step) / (total_steps - stable_steps(total_steps) + 1),
        "constant": 1.0,
        "linear": left,
        "cosine": 0.5 - 0.5 * math.cos(math.pi * min(1.0, left)),
    }[scheduler]
    return max(0.0, min(1.0, (step + 1) / warmup, falling))
