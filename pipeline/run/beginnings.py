"""Going on from where an earlier run's rate was still stable, with the very result of a run from the beginning.

Rates, order of the data and dropout masks are functions of plan and position, and only the decay knows a run's length.
So two runs that differ in nothing but their epochs are the same run up to the end of the shorter one's stable phase,
where a checkpoint is kept.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
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

    return {
        "data": run_record["data"]["fingerprint"],
        "base_model": run_record["base"]["revision"],
        "chat_format": _learnt(run_record["chat_format"]),
        **_stable_numbers(run_record["plan"], versions),
        "versions": {name: versions[name] for name in _LIBRARIES},
        "device": [device, dtype, torch.get_num_threads() if device == "cpu" else 0],
        "warm_start": _first_adapter_name(run_record),
        "processes": f"{shards()}, FSDP" if shards() > 1 else int(os.environ.get("WORLD_SIZE", "1")),
    }


def _learnt(chat_format: Mapping[str, Any]) -> dict[str, Any]:
    """A chat format without what else generation stops at, which changes nothing of what is learnt."""
    return {name: value for name, value in chat_format.items() if name != "other_ends"}


def _first_adapter_name(run_record: Mapping[str, Any]) -> Any:
    """The run whose adapter it began with; with the point's folder where it isn't that run's end."""
    adapter = run_record.get("warm_start_adapter", "adapter")
    number = run_record["warm_start"]
    return number if adapter == "adapter" else [number, adapter]


def _stable_numbers(plan: Mapping[str, Any], versions: Mapping[str, str]) -> dict[str, Any]:
    plan = {name: value for name, value in plan.items() if name not in _LENGTH}
    # said only where it is so: older records don't know it
    if plan.pop("qlora", False):
        plan["qlora"] = versions["bitsandbytes"]
    return plan


def foreseen_beginning(
    history: History,
    previous: Run,
    plan: TrainPlan,
    *,
    rows: int,
    data: str,
    device: tuple[str, str],
    versions: Mapping[str, str],
) -> Beginning | None:
    """What a run of `plan` that continues `previous` will go on from, told before it is begun and without PyTorch.

    `rows` and `data`: number and fingerprint of the training dialogues; `device`: its kind and type, as a run on this
    machine has them. None where nothing is shared.
    """
    before = previous.record.get("beginning")
    if before is None or before["device"][:2] != list(device):
        return None
    if plan.qlora and "bitsandbytes" not in versions:
        return None
    libraries = {name: versions.get(name) for name in _LIBRARIES}
    # what isn't of the plan is as it was for the run that is continued
    kept = {name: value for name, value in before.items() if name != "qlora"}
    expected = {**kept, "data": data, **_stable_numbers(plan.to_json(), versions), "versions": libraries}
    limit = stable_steps(plan.total_steps(rows), plan.scheduler)
    runs = [run for run in history.readable(previous.record["name"]) if run.has_done("train")]
    alike = [run for run in runs if run.record.get("beginning") == expected]
    return _longest(alike, limit)


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


def first_adapter_record(
    request: Request, strategy: str | None, plan: TrainPlan, previous: Run | None, *, new_base: bool = False
) -> dict[str, Any]:
    """What a new record says of `first_adapter`: the run's number, and the folder where it isn't that of its end."""
    number = first_adapter(request, strategy, plan, previous, new_base=new_base)
    found: dict[str, Any] = {"warm_start": number}
    if number is None or previous is None:
        return found
    if request.warm_start:
        adapter = previous.adapter_name(previous.taught_point)
    else:
        adapter = previous.record.get("warm_start_adapter", "adapter")
    return found if adapter == "adapter" else {**found, "warm_start_adapter": adapter}


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
    if (longest := _longest(alike, limit)) is not None:
        return longest
    if alike or not earlier:
        return None
    continued = next((other for other in earlier if other.number == run.record["parent"]), earlier[-1])
    before, now = continued.record.get("beginning", {}), run.record["beginning"]
    if continued.record.get("adopted"):  # what it began with has stayed on the other machine
        return None
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def _longest(runs: Sequence[Run], limit: int) -> Beginning | None:
    found = [beginning for run in runs for beginning in _kept(run, limit)]
    if not found:
        return None
    return max(found, key=lambda beginning: beginning.step)


def _kept(run: Run, limit: int) -> list[Beginning]:
    from lora_trainer.engine.checkpoints import Checkpoints

    checkpoints = Checkpoints(run.folder / "checkpoints")
    stable = stable_steps(run.record["training"]["steps"], run.plan.scheduler)
    return [Beginning(run, s, checkpoints.at(s)) for s in checkpoints.steps() if s <= min(limit, stable)]
