"""Where the time of one of our steps goes on a card: matrix products, attention, everything else, nothing at all."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.gpu.data import Writer
from bench.gpu.ours import at_each_step, finish, hardware_of, make_trainer
from bench.gpu.shapes import SHAPES, described, random_weights
from lora_trainer.plan import TrainPlan

KINDS = {
    # first, since some of these are built of CUTLASS as well
    "attention": re.compile(r"attention|flash|fmha|sdpa", re.IGNORECASE),
    "products": re.compile(
        r"gemm|gemv|cutlass|cublas|nvjet|xmma|wgmma|matmul|\b(add|b|badd)?mm_?\b|Cijk_", re.IGNORECASE
    ),
}
"""Which kernels are which, by what their names have in common: cuBLAS', CUTLASS', cuDNN's and rocBLAS', and on a CPU
torch's own operators."""
STEPS = 5
"""The last one is profiled, the two before it are timed."""


def kind_of(kernel: str) -> str:
    """Products, attention, or other."""
    return next((kind for kind, pattern in KINDS.items() if pattern.search(kernel)), "other")


def busy(intervals: Iterable[tuple[float, float]]) -> float:
    """How long at least one of some intervals (start, end) lasts."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def profile(shape: str, batch: int, device: str) -> dict[str, Any]:
    """Shares of one step of ours, by trees: of the time that it takes when nobody looks.

    A profiled step is slower, so what a device was busy with is held against the same step without a profiler.
    """
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    hardware = hardware_of(device)
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if hardware.device == "cuda" else [])
    watch = profiler(activities=activities)
    times: list[float] = []

    def after(state: Any, control: Any) -> None:
        finish(hardware.device)
        times.append(time.perf_counter())
        if state.global_step == STEPS - 1:
            watch.start()
        elif state.global_step == STEPS:
            watch.stop()
            control.should_training_stop = True

    # as many dialogues as a step has: each step is the same one
    plan = TrainPlan(epochs=4.0 * STEPS, batch_size=batch)
    rows = Writer(SHAPES[shape].vocabulary).rows(batch)
    with random_weights(), TemporaryDirectory() as folder:
        trainer = make_trainer(described(shape), rows, plan, Path(folder), hardware)
        # evaluates and saves, which is no step's business
        trainer.save_model = trainer._save_checkpoint = lambda *_, **__: None
        trainer.add_callback(at_each_step(after=after))
        trainer.train()
    seconds = (times[-2] - times[-4]) / 2
    found = shares(*spent_on(watch, hardware.device), seconds)
    return {"shape": shape, "batch": batch, "step_seconds": seconds, **found}


def spent_on(watch: Any, device: str) -> tuple[list[tuple[str, float]], float]:
    """(name, seconds) of each kernel of a card, or of each operator of a CPU without those that it calls; and the
    seconds in which there was any."""
    from torch.autograd import DeviceType

    if device != "cuda":
        spent = [(event.name, event.self_cpu_time_total / 1e6) for event in watch.events()]
        return spent, sum(seconds for _, seconds in spent)
    # torch also draws what it names itself, an optimizer's step for one, over the kernels of it
    kernels = [
        event
        for event in watch.events()
        if event.device_type == DeviceType.CUDA and not getattr(event, "is_user_annotation", False)
    ]
    spans = [(event.time_range.start / 1e6, event.time_range.end / 1e6) for event in kernels]
    spent = [(event.name, end - start) for event, (start, end) in zip(kernels, spans, strict=True)]
    return spent, busy(spans)


def shares(spent: list[tuple[str, float]], busy_seconds: float, seconds: float) -> dict[str, Any]:
    """The share of `seconds` that each kind of kernel had, and that none had; and how many there were."""
    share = dict.fromkeys((*KINDS, "other"), 0.0)
    for name, its in spent:
        share[kind_of(name)] += its / seconds
    share["idle"] = max(0.0, 1 - busy_seconds / seconds)
    return {"shares": share, "kernels": len(spent)}
