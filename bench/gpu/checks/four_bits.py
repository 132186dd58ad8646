"""--qlora: a step upon a base model in 4 bits against the plainest step upon the weights that those bits stand for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bench.gpu.checks.outcome import Failed, Outcome, Skipped
from bench.gpu.checks.setup import PLAN, Setup, stir
from bench.gpu.checks.step import alike, plain_step, step_of
from lora_trainer.errors import UsageError
from lora_trainer.models.quantization import check_four_bits


def check_qlora(setup: Setup) -> Outcome:
    """A step of ours with --qlora."""
    hardware = setup.hardware
    device = {"device": hardware.device, "device_name": hardware.name, "dtype": hardware.dtype}
    try:
        version = check_four_bits("small", "folder", sharded=False, **device)
    except UsageError as error:
        if error.key == "error.qlora.not_installed":
            raise Skipped("bitsandbytes isn't installed") from None
        raise Failed(f"bitsandbytes fails: {error.values.get('reason')}") from None
    weights: dict[str, Any] = {}
    step = step_of(
        setup,
        hardware,
        plan=replace(PLAN, qlora=True),
        prepare=lambda trainer: weights.update(dequantized(trainer.model)),
    )
    outcome = alike(step, plain_step(_full_model(setup, weights), setup.rows()), hardware.dtype)
    return replace(outcome, words=f"bitsandbytes {version}")


def dequantized(model: Any) -> dict[str, Any]:
    """Layer name -> its weights in float32 on the CPU, of all layers in 4 bits."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    return {
        name: dequantize_4bit(layer.weight.data, layer.weight.quant_state).float().cpu()
        for name, layer in model.named_modules()
        if isinstance(layer, Linear4bit)
    }


def _full_model(setup: Setup, weights: dict[str, Any]) -> Any:
    """The adapted model in float32 on the CPU, with these weights in place of its own."""
    from lora_trainer.models.adapter import adapted_model

    model = adapted_model(setup.base, PLAN, "cpu", "float32").train()
    if len(weights) != 7 * setup.shape.layers:
        raise Failed(f"{len(weights)} layers are in 4 bits in place of {7 * setup.shape.layers}")
    for name, weight in weights.items():
        model.get_submodule(name).weight.data.copy_(weight)
    stir(model)
    return model
