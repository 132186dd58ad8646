"""The LoRA adapter on a base model: which layers get one, and one that was trained before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lora_trainer.models.layers import AdaptedLayers, adapted_layers
from lora_trainer.models.load import empty_model, load_model
from lora_trainer.models.source import BaseModel
from lora_trainer.plan import TrainPlan


def adapted_model(base: BaseModel, plan: TrainPlan, device: str, dtype: str) -> Any:
    """The frozen base model with a fresh adapter in float32 on the layers that get one (see layers.py).

    `device`, `dtype`: as for `load_model`. Raises what that and `adapted_layers` raise.
    """
    import torch

    model = load_model(base, device, dtype, four_bits=plan.qlora)
    names = layers_of(base, plan, model).names
    # A is random, B is zero: the same adapter on every device and in every process
    torch.manual_seed(plan.seed)
    adapted = _attach(model, plan, list(names))
    adapted.peft_config["default"].base_model_name_or_path = base.source
    return adapted


def layers_of(base: BaseModel, plan: TrainPlan, model: Any = None) -> AdaptedLayers:
    """The layers of a base model (`model`, where it is loaded) that get an adapter.

    Raises what `empty_model` and `adapted_layers` raise.
    """
    return adapted_layers(
        empty_model(base) if model is None else model,
        lambda empty, names: _attach(empty, plan, names),
        lambda: empty_model(base),
    )


def _attach(model: Any, plan: TrainPlan, layers: list[str]) -> Any:
    from peft import LoraConfig, get_peft_model

    configuration = LoraConfig(
        r=plan.lora_rank,
        lora_alpha=int(plan.lora_alpha) if plan.lora_alpha.is_integer() else plan.lora_alpha,
        lora_dropout=plan.lora_dropout,
        target_modules=layers,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, configuration)


def load_adapter(model: Any, adapter: Path) -> None:
    """Put the weights of an adapter of the same shape, a folder in PEFT's format, into a model that has one.

    Raises OSError where there is no such file, RuntimeError where the shapes differ.
    """
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    set_peft_model_state_dict(model, load_file(adapter / "adapter_model.safetensors"))
