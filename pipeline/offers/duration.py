"""How long a training takes: from earlier runs of the same shape here, else from how fast this machine multiplies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from lora_trainer.engine.schedule import evaluation_steps
from lora_trainer.models.shape import ModelShape
from lora_trainer.plan import TrainPlan
from pipeline.offers.data_size import DataSize, data_size
from pipeline.offers.machine import Machine
from pipeline.run.history import Run
from pipeline.run.rows import rows_of

_RUNS = 3
"""Earlier runs that are looked at, the newest ones."""
_ROWS = 5000
"""Of an earlier run that are read again."""
_SPREAD = 1.1
"""What one run's speed may be off by, up and down: temperature, and what else is running."""
_EFFICIENCY = 0.7
"""The share of a training's time that products at this speed would take; the rest is attention, norms, activation
functions and small products. On one core of an AVX-512 processor, by CPU time: SmolLM2-135M on data/demo 0.69, in steps
and in evaluations; Qwen2.5-0.5B's shape on data 0.85 and 0.66, of its estimated tokens 0.74."""
_PASS_SECONDS, _LAYER_SECONDS = 0.02, 0.005
"""What one step or evaluation takes beside its products, and for each layer: Python, and the starting of kernels. It is
all that a fast card waits for, and nothing to speak of on a processor; measured on a processor alone."""
_DOUBT = 1.6
"""What the estimate may be off by, up and down."""


@dataclass(frozen=True)
class Duration:
    """Seconds of a training."""

    low: float
    high: float
    measured: bool
    """Whether an earlier training tells; else it is estimated, and `seconds` is to be said with "about"."""

    @property
    def seconds(self) -> float:
        """The middle of the range, by ratio."""
        return math.sqrt(self.low * self.high)


def training_duration(
    shape: ModelShape, data: DataSize, plan: TrainPlan, machine: Machine, runs: Sequence[Run], *, begins: int = 0
) -> Duration | None:
    """How long the steps behind `begins` take, evaluations included; None where nothing tells.

    `runs`: trained ones, newest first; those of another shape or device are passed over.
    """
    work = _Work.of(shape, data, plan, machine, begins)
    if found := list(islice(_measured(work, shape, plan, machine, runs), _RUNS)):
        return Duration(min(found) / _SPREAD, max(found) * _SPREAD, measured=True)
    speed = machine.speed(shape.hidden)
    if speed is None:
        return None
    products = (work.steps + work.evaluations * work.evaluation) / (speed * _EFFICIENCY)
    passes = plan.total_steps(data.rows) - begins + work.evaluations
    seconds = products + passes * (_PASS_SECONDS + shape.layers * _LAYER_SECONDS)
    return Duration(seconds / _DOUBT, seconds * _DOUBT, measured=False)


@dataclass(frozen=True)
class _Work:
    """Floating point operations."""

    steps: float
    """Of all optimizer steps that are computed."""
    evaluation: float
    """Of one evaluation."""
    evaluations: int

    @classmethod
    def of(cls, shape: ModelShape, data: DataSize, plan: TrainPlan, machine: Machine, begins: int = 0) -> _Work:
        tokens = data.tokens(plan, shape.vocabulary, machine.hardware.token_budget)
        total, per_epoch = plan.total_steps(data.rows), plan.steps_per_epoch(data.rows)
        share = (total - begins) / total
        evaluations = [step for step in evaluation_steps(total, per_epoch) if step > begins]
        return cls(
            steps=share * step_operations(shape, plan, tokens.computed, tokens.supervised),
            evaluation=forward_operations(shape, tokens.validated, tokens.validated_answers),
            evaluations=(len(evaluations) + (begins == 0)) if data.val_rows else 0,
        )


def step_operations(shape: ModelShape, plan: TrainPlan, computed: float, supervised: float) -> float:
    """Floating point operations of steps with so many positions in the layers and in the output layer.

    Two for each weight and position forwards; as many backwards, since the frozen weights get no gradient, and six for
    those of the adapter, which do (after Kaplan et al., 2020, arXiv:2001.08361, section 2.1).
    """
    per_position = 4 * shape.layers * shape.layer_weights + 6 * shape.adapter_weights(plan.lora_rank)
    return computed * per_position + supervised * 4 * shape.vocabulary * shape.hidden


def forward_operations(shape: ModelShape, computed: float, answers: float) -> float:
    """The same of an evaluation, which goes forwards only."""
    return 2 * (computed * shape.layers * shape.layer_weights + answers * shape.vocabulary * shape.hidden)


def _measured(
    work: _Work, shape: ModelShape, plan: TrainPlan, machine: Machine, runs: Sequence[Run]
) -> Iterator[float]:
    """What the work takes by the speed of each earlier run of this shape on this device."""
    for run in runs:
        if not _is_alike(run, shape, plan, machine) or (done := _done_by(run, shape, machine)) is None:
            continue
        training = run.record["training"]
        for_steps = for_evaluations = training["seconds"] / done.steps
        if done.evaluations and training.get("evaluation_seconds"):
            for_evaluations = training["evaluation_seconds"] / (done.evaluations * done.evaluation)
        yield work.steps * for_steps + work.evaluations * work.evaluation * for_evaluations


def _is_alike(run: Run, shape: ModelShape, plan: TrainPlan, machine: Machine) -> bool:
    """Whether a run trained a model of this shape, on this device, in the same way."""
    record, training = run.record, run.record["training"]
    processes = record.get("beginning", {}).get("processes", 1)
    return (
        record["base"]["parameters"] == shape.parameters
        and training["seconds"] > 0
        and (training["device"], training["dtype"]) == (machine.hardware.device, machine.hardware.dtype)
        # of older records it isn't known
        and training.get("device_name", machine.hardware.name) == machine.hardware.name
        and bool(record["plan"].get("qlora")) == plan.qlora
        and processes == 1
    )


def _done_by(run: Run, shape: ModelShape, machine: Machine) -> _Work | None:
    """What an earlier run has computed; None where nothing tells.

    Estimated from its rows, as that of the new run is from the new ones, so that what is wrong with the estimate
    cancels out; where there are none any more, or too many to be read for this, as it has counted itself.
    """
    training, plan = run.record["training"], run.plan
    kept = rows_of(run) if run.record["data"].get("rows", 0) <= _ROWS else None
    if kept is not None:
        work = _Work.of(shape, data_size(kept), plan, machine)
        share = training["steps"] / plan.total_steps(len(kept.train))
        return replace(work, steps=work.steps * share, evaluations=len(training["val_losses"]))
    if not training.get("computed_tokens"):
        return None
    steps = step_operations(shape, plan, training["computed_tokens"], training["supervised_tokens"])
    return _Work(steps, 0.0, 0)


def round_seconds(seconds: float) -> int:
    """To what people say: 10 seconds below 2 minutes, a minute below 20, 5 below an hour, quarters of an hour below 3,
    half ones below 10, then hours.
    """
    for below, unit in ((120, 10), (20 * 60, 60), (3600, 300), (3 * 3600, 900), (10 * 3600, 1800)):
        if seconds < below:
            return max(unit, round(seconds / unit) * unit)
    return round(seconds / 3600) * 3600
