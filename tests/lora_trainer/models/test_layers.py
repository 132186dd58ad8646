"""Which layers of a model get an adapter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lora_trainer.errors import BaseModelError
from lora_trainer.models.adapter import adapted_model, layers_of
from lora_trainer.models.layers import adapted_layers, kinds_with_adapter
from lora_trainer.models.source import resolve_base_model
from lora_trainer.plan import TrainPlan
from tests.support.architectures import make
from tests.support.tiny import make_tiny

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]
PLAN = TrainPlan(lora_rank=2)


@pytest.mark.parametrize(
    ("architecture", "kinds", "experts"),
    [
        ("qwen2_moe", [*ATTENTION, *MLP], True),
        # PEFT takes the names of its shared experts and its dense layer for those of experts
        ("deepseek_v3", ["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"], True),
        # its attention has a gate_proj of its own
        ("afmoe", ATTENTION, True),
        ("gpt_oss", ATTENTION, True),
        # the first layer of a state space model alone is called as a layer by every kernel
        ("falcon_h1", [*MLP, "in_proj", *ATTENTION], False),
        ("falcon_mamba", ["in_proj"], False),
    ],
)
def test_every_linear_layer_gets_one_but_experts_routers_and_what_is_no_layer(
    architecture: str, kinds: list[str], experts: bool, tmp_path: Path
) -> None:
    make(architecture, tmp_path)
    base = resolve_base_model(str(tmp_path))
    found = layers_of(base, PLAN)
    assert sorted(found.kinds) == sorted(kinds) and found.experts is experts
    adapted = adapted_model(base, PLAN, "cpu", "float32")
    assert sorted(kinds_with_adapter(adapted)) == sorted(kinds)
    assert sum(kinds_with_adapter(adapted).values()) == len(found.names)
    learnt = {name for name, weight in adapted.named_parameters() if weight.requires_grad}
    assert learnt and not any(".experts." in name for name in learnt)


def test_a_dense_model_gets_them_on_every_linear_layer_but_the_output(tmp_path: Path) -> None:
    found = layers_of(resolve_base_model(str(make_tiny(tmp_path, tied=False))), PLAN)
    assert found.names == tuple(
        f"model.layers.{layer}.{part}.{kind}"
        for layer in (0, 1)
        for part, kinds in (("self_attn", ATTENTION), ("mlp", MLP))
        for kind in kinds
    )


def test_a_model_without_a_linear_layer_is_refused_in_words() -> None:
    class Bare(torch.nn.Module):
        def get_output_embeddings(self) -> None:
            return None

    with pytest.raises(BaseModelError) as refused:
        adapted_layers(Bare(), lambda model, _: model, Bare)
    assert refused.value.key == "error.base.no_layers"
