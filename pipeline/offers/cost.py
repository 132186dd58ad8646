"""What a plan costs: time, memory and disk, and how much of it has been computed already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lora_trainer.engine.memory import least_memory
from lora_trainer.engine.schedule import stable_steps
from lora_trainer.plan import TrainPlan
from pipeline.checks.resources import written_bytes
from pipeline.job import library_versions
from pipeline.offers.base_facts import BaseFacts
from pipeline.offers.base_models import four_bits_of, trained_runs
from pipeline.offers.data_size import DataSize
from pipeline.offers.duration import Duration, training_duration
from pipeline.offers.machine import Machine
from pipeline.run.beginnings import Beginning, foreseen_beginning
from pipeline.run.history import History, Run

_KEPT_BYTES = 40
"""For each weight of the adapter: in float32 itself, and in three checkpoints with Adam's two moments beside it."""


@dataclass(frozen=True)
class Cost:
    """The price of a plan."""

    duration: Duration | None
    """None where nothing tells."""
    memory_bytes: int | None
    """Of the device, as the check before the training asks for; None where the base model isn't known yet."""
    disk_bytes: int | None
    """What is downloaded and written, the copy in Ollama included."""
    steps: int
    """Optimizer steps of the plan."""
    computed_steps: int
    """Those that have to be computed."""
    epochs_computed: float
    """The same in epochs."""
    begins_with: tuple[int, int] | None
    """Number of the run, and its step, that is gone on from."""


def plan_cost(
    plan: TrainPlan,
    data: DataSize,
    base: BaseFacts | None,
    machine: Machine,
    history: History,
    *,
    rungs: Sequence[float] = (),
    quantize: str = "q8_0",
    registers: bool = True,
    continues: Run | None = None,
    fresh: bool = False,
    runs: Sequence[Run] | None = None,
) -> Cost:
    """The price of one training, or of all `rungs` (epochs) of a ladder; `steps` are the longest one's.

    `continues`: the run that is continued, with which its beginning may be shared. `fresh`: it isn't, since the
    training begins anew from the base model, with the last adapter, or on another base model. `runs`: what
    `trained_runs` has found, for whoever asks more than once.
    """
    parts: list[tuple[TrainPlan, int]] = []
    first = None
    for epochs in sorted(rungs or (plan.epochs,)):
        rung = replace(plan, epochs=epochs)
        shared = None if continues is None or fresh else _shared(rung, data, machine, history, continues)
        first = first or (shared if not parts else None)
        stable = stable_steps(rung.total_steps(data.rows), rung.scheduler)
        below = stable_steps(parts[-1][0].total_steps(data.rows), rung.scheduler) if parts else 0
        parts.append((rung, max(shared.step if shared else 0, min(below, stable))))
    return _cost(
        parts, first, data, base, machine, trained_runs(history) if runs is None else runs, quantize, registers
    )


def _shared(plan: TrainPlan, data: DataSize, machine: Machine, history: History, run: Run) -> Beginning | None:
    device = (machine.hardware.device, machine.hardware.dtype)
    return foreseen_beginning(
        history, run, plan, rows=data.rows, data=data.fingerprint, device=device, versions=library_versions()
    )


def _cost(
    parts: Sequence[tuple[TrainPlan, int]],
    begins: Beginning | None,
    data: DataSize,
    base: BaseFacts | None,
    machine: Machine,
    runs: Sequence[Run],
    quantize: str,
    registers: bool,
) -> Cost:
    longest = parts[-1][0]
    steps = [(plan.total_steps(data.rows), begin) for plan, begin in parts]
    computed = sum(total - begin for total, begin in steps)
    memory = disk = duration = None
    if base is not None:
        four_bits = four_bits_of(base.shape) if longest.qlora else 0
        memory = least_memory(base.shape, longest, machine.hardware, four_bits)
        written = written_bytes(base.shape.parameters, quantize)
        kept = base.shape.adapter_weights(longest.lora_rank) * _KEPT_BYTES
        disk = int(base.download_bytes + written * (2 if registers else 1) + kept)
        times = [training_duration(base.shape, data, plan, machine, runs, begins=begin) for plan, begin in parts]
        duration = _sum([time for time in times if time is not None]) if None not in times else None
    return Cost(
        duration=duration,
        memory_bytes=memory,
        disk_bytes=disk,
        steps=steps[-1][0],
        computed_steps=computed,
        epochs_computed=computed / longest.steps_per_epoch(data.rows),
        begins_with=(begins.run.number, begins.step) if begins else None,
    )


def _sum(times: Sequence[Duration]) -> Duration:
    measured = all(time.measured for time in times)
    return Duration(sum(time.low for time in times), sum(time.high for time in times), measured)
