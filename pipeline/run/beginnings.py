"""Going on from where an earlier run's rate was still stable, with the very result of a run from the beginning.

Rates, order of the data and dropout masks are functions of plan and position, and only the decay knows a run's length.
So two runs that differ in nothing but their epochs are the same run up to the end of the shorter one's stable phase,
where a checkpoint is kept.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_trainer.engine.schedule import stable_steps
from lora_trainer.engine.sharding import shards
from lora_trainer.models.source import absolute_source
from lora_trainer.plan import TrainPlan
from pipeline.request import Request
from pipeline.run.history import History, Run

_LENGTH = ("epochs", "early_stop", "sources")
"""Fields of a plan that don't touch what happens in the stable phase."""
_LIBRARIES = ("torch", "transformers", "peft", "accelerate")
"""Whose update may change what a step computes."""


@dataclass(frozen=True)
class Beginning:
    """An earlier run's checkpoint that a new run can go on from: after `step` optimizer steps, in `checkpoint`."""

    run: Run
    step: int
    checkpoint: Path


def beginning_of(run_record: dict[str, Any], versions: Mapping[str, str], device: str, dtype: str) -> dict[str, Any]:
    """Everything that the stable phase of a run depends on, as plain JSON values."""
    import torch

    plan = {name: value for name, value in run_record["plan"].items() if name not in _LENGTH}
    # said only where it is so: older records don't know it
    if plan.pop("qlora", False):
        plan["qlora"] = versions["bitsandbytes"]
    return {
        "data": run_record["data"]["fingerprint"],
        "base_model": run_record["base"]["revision"],
        "chat_format": run_record["chat_format"],
        **plan,
        "versions": {name: versions[name] for name in _LIBRARIES},
        "device": [device, dtype, torch.get_num_threads() if device == "cpu" else 0],
        "warm_start": run_record["warm_start"],
        "processes": f"{shards()}, FSDP" if shards() > 1 else int(os.environ.get("WORLD_SIZE", "1")),
    }


def first_adapter(
    request: Request, strategy: str | None, plan: TrainPlan, previous: Run | None, *, new_base: bool = False
) -> int | None:
    """The number of the run whose adapter a run begins with; None where that is a fresh one.

    `--warm_start` takes that of the run that is continued. A continuation of such a run begins as that one did, so
    that added epochs are added to it, unless another adapter or base model or `--from_scratch` says otherwise, or the
    base model is a new one, since the old one is gone.
    """
    if previous is None or strategy is None or request.from_scratch:
        return None
    if request.warm_start:
        return previous.number
    before = previous.plan
    base: str = previous.record["base"]["source"]
    same = request.base_model is None or absolute_source(request.base_model) == absolute_source(base)
    fits = (plan.lora_rank, plan.lora_alpha) == (before.lora_rank, before.lora_alpha)
    inherited: int | None = previous.record["warm_start"]
    return inherited if fits and same and not new_base else None


def updated_libraries(previous: Run | None, plan: TrainPlan, versions: Mapping[str, str]) -> list[str]:
    """The libraries for whose update alone a run of `plan` can't go on from `previous`: name, version before → now.

    Empty where something else has changed as well, or nothing could have been gone on with.
    """
    before = previous.record.get("beginning", {}).get("versions") if previous else None
    if previous is None or before is None or stable_steps(1000, plan.scheduler) == 0:
        return []
    matter = [name for name in vars(plan) if name not in _LENGTH]
    if any(getattr(plan, name) != getattr(previous.plan, name) for name in matter):
        return []
    changed = [name for name in _LIBRARIES if before.get(name) != versions[name]]
    return [f"{name} {before.get(name, '?')} → {versions[name]}" for name in changed]


def find_beginning(history: History, run: Run, rows: int) -> Beginning | list[str] | None:
    """The longest beginning that `run` shares with an earlier one of its name.

    Where there is an earlier run but none that began alike: the names of what differs from the one that is continued,
    or from the newest. None where there is nothing to go on from at all.
    """
    limit = stable_steps(run.plan.total_steps(rows), run.plan.scheduler)
    trained = [other for other in history.runs(run.record["name"]) if other.has_done("train")]
    earlier = [other for other in trained if other.number < run.number]
    alike = [other for other in earlier if other.record.get("beginning") == run.record["beginning"]]
    found = [beginning for other in alike for beginning in _kept(other, limit)]
    if found:
        return max(found, key=lambda beginning: beginning.step)
    if alike or not earlier:
        return None
    continued = next((other for other in earlier if other.number == run.record["parent"]), earlier[-1])
    before, now = continued.record.get("beginning", {}), run.record["beginning"]
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def _kept(run: Run, limit: int) -> list[Beginning]:
    from lora_trainer.engine.checkpoints import Checkpoints

    checkpoints = Checkpoints(run.folder / "checkpoints")
    stable = stable_steps(run.record["training"]["steps"], run.plan.scheduler)
    return [Beginning(run, s, checkpoints.at(s)) for s in checkpoints.steps() if s <= min(limit, stable)]
