"""One contender's speed and memory on one shape, in a process of its own."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.gpu.contenders import run
from bench.gpu.data import Rows, Writer
from bench.gpu.ours import at_each_step, finish, hardware_of
from bench.gpu.shapes import SHAPES, described, random_weights
from lora_trainer.engine.memory import count_peak_anew, peak
from lora_trainer.engine.schedule import step_dialogues
from lora_trainer.plan import TrainPlan

EPOCH = 64
"""Steps of an epoch. A quarter of it comes before anything is evaluated or saved: measured is what is in between."""
WARM = 2
"""Steps that aren't counted: kernels are chosen, and memory is got, in them."""
COUNTED = (3, 12)
"""Steps that are: at least, and at most."""


class Clock:
    """When the first step was done, and how long the counted ones took; stops a training when it has them."""

    def __init__(self, device: str, began: float, seconds: float) -> None:
        self.device, self.began, self.seconds = device, began, seconds
        self.tried_since = 0.0
        self.first = self.spent = 0.0
        self.steps = 0

    def callback(self) -> Any:
        """For one try at training; what earlier ones took, and held, isn't counted."""
        self.tried_since = self.tried_since or time.time()
        self.lost = time.time() - self.tried_since
        count_peak_anew(self.device)
        return at_each_step(after=self._done)

    def _done(self, state: Any, control: Any) -> None:
        step = state.global_step
        if step in (1, WARM):
            finish(self.device)
            self.counting_since = time.perf_counter()
        if step == 1:
            self.first = time.time() - self.began - self.lost
        self.steps = step - WARM
        least, most = COUNTED
        late = time.perf_counter() - self.counting_since > self.seconds
        if self.steps == most or (late and self.steps >= least):
            finish(self.device)
            self.spent = time.perf_counter() - self.counting_since
            control.should_training_stop = True


def measure(shape: str, batch: int, contender: str, device: str, began: float, seconds: float) -> dict[str, Any]:
    """Dialogues and tokens a second, peak memory, and seconds from `began` (time.time()) to the end of the first step.

    `seconds`: when these are over, no further steps are counted.
    """
    hardware = hardware_of(device)
    base = described(shape)
    plan = TrainPlan(epochs=1.0, batch_size=batch)
    clock = Clock(hardware.device, began, seconds)
    rows = Writer(SHAPES[shape].vocabulary).rows(EPOCH * batch)
    with random_weights(), TemporaryDirectory() as folder:
        told = run(contender, base, rows, plan, Path(folder), hardware, clock.callback)
    tokens = own_tokens(rows, plan, range(WARM, WARM + clock.steps))
    return {
        "shape": shape,
        "batch": batch,
        "contender": contender,
        "dialogues_per_second": clock.steps * batch / clock.spent,
        "tokens_per_second": tokens / clock.spent,
        "step_seconds": clock.spent / clock.steps,
        "peak_gb": peak(hardware.device) / 1e9,
        "seconds_to_first_step": clock.first,
        "steps": clock.steps,
        **told,
    }


def own_tokens(rows: Rows, plan: TrainPlan, steps: range) -> int:
    """Tokens of the dialogues of some steps, each dialogue's once, nothing padded: the same for all contenders."""
    chosen = (i for step in steps for i in step_dialogues(plan, step, len(rows)))
    return sum(len(rows[i].sequences[-1]) for i in chosen)
