"""FSDP: the weights are split among the processes of `accelerate launch`, for base models larger than one GPU.

accelerate's own configuration switches it on (`--use_fsdp --fsdp_version 2`). What the first process has loaded
counts for all. Checkpoints are written as one process alone writes them, so any number of processes can go on from one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from lora_trainer.errors import UsageError


def is_asked_for() -> bool:
    """Whether accelerate's launcher was told to split the weights."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def shards() -> int:
    """Among how many processes the weights are split; 1 where they aren't."""
    return int(os.environ.get("WORLD_SIZE", "1")) if is_asked_for() else 1


def check_version() -> None:
    """Raise UsageError for FSDP's version 1, which can't split a frozen base together with a float32 adapter."""
    version = os.environ.get("FSDP_VERSION", "1")
    if shards() > 1 and version != "2":
        raise UsageError("error.fsdp.version", version=version)


def allow_on_cpu() -> None:
    """Let accelerate split weights on the CPU too: it passes over FSDP there, though torch has it over gloo."""
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    if PartialState().distributed_type == DistributedType.MULTI_CPU:
        PartialState().distributed_type = DistributedType.MULTI_GPU


def configure(plugin: Any) -> bool:
    """Make accelerate's plugin fit a frozen base with a float32 adapter; true where it is to recompute activations.

    That is left to transformers: PEFT doesn't find its layers in accelerate's wrappers.
    """
    from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

    # each layer is gathered for itself
    plugin.auto_wrap_policy = plugin.auto_wrap_policy or transformer_auto_wrap_policy
    # autocast computes in bfloat16, as in one process; this policy would round gradients to it
    plugin.mixed_precision_policy = None
    plugin.cpu_ram_efficient_loading = True
    recompute, plugin.activation_checkpointing = plugin.activation_checkpointing, False
    return bool(recompute)


def gather(state: Any) -> Any:
    """Gather the split tensors of nested dicts and lists, on the CPU; every process has to join in."""
    from torch.distributed.tensor import DTensor

    if isinstance(state, dict):
        return {key: gather(value) for key, value in state.items()}
    if isinstance(state, list):
        return [gather(value) for value in state]
    return state.full_tensor().cpu() if isinstance(state, DTensor) else state


def shard(state: dict[str, Any], optimizer: Any) -> dict[str, Any]:
    """An optimizer's gathered state as this process keeps it: its part of whatever is split like its parameter."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def part(value: Any, parameter: Any) -> Any:
        if not isinstance(parameter, DTensor) or getattr(value, "shape", None) != parameter.shape:
            return value
        return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)

    parts = {i: {name: part(v, parameters[i]) for name, v in values.items()} for i, values in state["state"].items()}
    return {**state, "state": parts}


def gradients(loss: Any, parameters: Sequence[Any]) -> list[Any]:
    """The gradients of a loss, None where it doesn't depend on a parameter; split ones come gathered, as their mean."""
    import torch
    from torch.distributed.tensor import DTensor

    if not any(isinstance(parameter, DTensor) for parameter in parameters):
        return list(torch.autograd.grad(loss, parameters, allow_unused=True))
    # what is differentiated isn't the parameter but what was gathered of it: only a backward pass knows both
    loss.backward()
    found = [gather(parameter.grad) for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    return found
