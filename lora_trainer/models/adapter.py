"""The LoRA adapter on a base model: which layers get one, and one that was trained before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lora_trainer.errors import BaseModelError
from lora_trainer.models.load import load_config, load_model
from lora_trainer.models.source import BaseModel
from lora_trainer.plan import TrainPlan


def adapted_model(base: BaseModel, plan: TrainPlan, device: str, dtype: str) -> Any:
    """The frozen base model with a fresh adapter in float32 on all linear layers but the output layer.

    `device`, `dtype`: as for `load_model`. Raises what that raises, ValueError where PEFT finds no linear layer.
    """
    import torch
    from peft import get_peft_model

    model = load_model(base, device, dtype, four_bits=plan.qlora)
    # A is random, B is zero: the same adapter on every device and in every process
    torch.manual_seed(plan.seed)
    adapted = get_peft_model(model, _configuration(plan))
    adapted.peft_config["default"].base_model_name_or_path = base.source
    return adapted


def _configuration(plan: TrainPlan) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=plan.lora_rank,
        lora_alpha=int(plan.lora_alpha) if plan.lora_alpha.is_integer() else plan.lora_alpha,
        lora_dropout=plan.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def check_layers(base: BaseModel, plan: TrainPlan) -> None:
    """Raise BaseModelError where an adapter would be more than one pair of factors for one matrix.

    PEFT gives experts that are one tensor an adapter of another kind, which no export can add to a GGUF's. Nothing is
    read but the configuration; of what transformers can't make from that alone, nothing is said.
    """
    import torch
    from peft import get_peft_model
    from peft.tuners.lora import Linear, LoraLayer
    from transformers import AutoModelForCausalLM

    config = load_config(base)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
            adapted = get_peft_model(model, _configuration(plan))
    except Exception:  # any architecture may have constraints of its own, of which the loading tells
        return
    layers = [
        name.removeprefix("base_model.model.").replace(".base_layer", "")
        for name, module in adapted.named_modules()
        if isinstance(module, LoraLayer) and not isinstance(module, Linear)
    ]
    if layers:
        # the router beside the experts is such a one, too
        named = next((name for name in layers if "expert" in name), layers[0])
        raise BaseModelError("error.base.experts", source=base.source, layer=named, count=len(set(layers)))


def load_adapter(model: Any, adapter: Path) -> None:
    """Put the weights of an adapter of the same shape, a folder in PEFT's format, into a model that has one.

    Raises OSError where there is no such file, RuntimeError where the shapes differ.
    """
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    set_peft_model_state_dict(model, load_file(adapter / "adapter_model.safetensors"))
