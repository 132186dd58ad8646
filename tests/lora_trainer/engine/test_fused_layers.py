"""Fused LoRA layers compute what PEFT's own compute."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_trainer.engine import fused_layers
from lora_trainer.models.source import resolve_base_model
from lora_trainer.plan import TrainPlan
from lora_trainer.train import trainable_model
from tests.support.tiny import make_tiny


def loss_and_gradients(model: Any) -> tuple[float, Any]:
    with torch.no_grad():
        torch.manual_seed(7)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05)
    ids = torch.arange(10, 90).view(2, 40)
    torch.manual_seed(3)
    loss = model(input_ids=ids, labels=ids).loss
    gradients = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])
    return loss.item(), torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "mistral"])
def test_a_fused_model_has_the_loss_and_the_gradients_of_pefts(
    tmp_path: Path, family: str, dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = resolve_base_model(str(make_tiny(tmp_path / family, family)))
    plan = TrainPlan(lora_dropout=dropout)
    fused = trainable_model(base, plan, "cpu", "float32").train()
    monkeypatch.setattr(fused_layers, "fuse_layers", lambda _: None)
    plain = trainable_model(base, plan, "cpu", "float32").train()
    ours, gradients = loss_and_gradients(fused)
    theirs, expected = loss_and_gradients(plain)
    # float32 rounds the one by 2e-7 and the other by 1e-6
    assert ours == pytest.approx(theirs, rel=5e-6)
    assert (gradients - expected).norm() <= 1e-5 * expected.norm()


def used(model: Any) -> Counter[str]:
    """How many fused computations of each kind there are in a model's way back."""
    todo = {model(input_ids=torch.tensor([[5, 6, 7]])).logits.grad_fn}
    seen = set()
    while todo:
        node = todo.pop()
        seen.add(node)
        todo |= {before for before, _ in node.next_functions if before is not None} - seen
    names = Counter(type(node).__name__ for node in seen)
    return Counter({name: count for name, count in names.items() if "Fused" in name})


@pytest.mark.parametrize(
    ("family", "blocks"),
    # Phi-3's gate and up are one layer
    [("llama", 2), ("qwen2", 2), ("qwen3", 2), ("gemma2", 2), ("gemma3", 6), ("mistral", 2), ("phi3", 0)],
)
def test_every_gated_block_is_fused_whatever_its_activation(tmp_path: Path, family: str, blocks: int) -> None:
    base = resolve_base_model(str(make_tiny(tmp_path / family, family)))
    model = trainable_model(base, TrainPlan(), "cpu", "float32")
    assert used(model)["_FusedGatedBackward"] == blocks


def test_layers_and_gated_blocks_are_fused_but_not_under_dropout_or_with_the_adapter_off(tmp_path: Path) -> None:
    base = resolve_base_model(str(make_tiny(tmp_path / "qwen2", "qwen2")))
    model = trainable_model(base, TrainPlan(), "cpu", "float32")
    # in each layer the attention's four and two norms, and a last norm; nothing is learnt before the first one
    assert used(model) == {"_FusedLinearBackward": 8, "_FusedGatedBackward": 2, "_FusedNormBackward": 4}
    model.get_input_embeddings().weight.requires_grad_()
    with model.disable_adapter():
        assert used(model) == {"_FusedNormBackward": 5}
    assert used(trainable_model(base, TrainPlan(lora_dropout=0.1), "cpu", "float32")) == {"_FusedNormBackward": 4}


def test_a_block_that_computes_something_else_keeps_its_own_way(tmp_path: Path) -> None:
    base = resolve_base_model(str(make_tiny(tmp_path / "gemma2", "gemma2")))
    block = trainable_model(base, TrainPlan(), "cpu", "float32").get_base_model().model.layers[0].mlp
    del block.forward
    assert fused_layers._gated_activation(block) is fused_layers._GELU
    for other in (torch.nn.GELU(), torch.nn.SiLU(), torch.nn.ReLU()):
        block.act_fn = other
        # the exact GELU's values are within two parts in ten thousand of its tanh form's
        assert not fused_layers._is_gated(block, fused_layers._GELU)


def test_a_block_whose_gradient_would_be_another_one_keeps_its_own_way(tmp_path: Path) -> None:
    base = resolve_base_model(str(make_tiny(tmp_path / "gemma2", "gemma2")))
    block = trainable_model(base, TrainPlan(), "cpu", "float32").get_base_model().model.layers[0].mlp
    del block.forward

    def exact(upstream: Any, x: Any, out: Any) -> Any:
        return torch.ops.aten.gelu_backward.grad_input(upstream, x, approximate="none", grad_input=out)

    assert not fused_layers._is_gated(block, fused_layers._GELU._replace(backward=exact))


def test_the_last_block_computes_what_something_is_predicted_from_and_nothing_changes(tmp_path: Path) -> None:
    base = resolve_base_model(str(make_tiny(tmp_path / "qwen2", "qwen2")))
    model = trainable_model(base, TrainPlan(), "cpu", "float32").train()
    ids = torch.arange(10, 70).view(2, 30)
    rows, columns = torch.tensor([0, 1, 1]), torch.tensor([20, 3, 28])
    widths: list[int] = []
    whole = model(input_ids=ids).logits
    expected = whole[rows, columns]
    fused = fused_layers._FusedGated.apply

    def noting(x: Any, *rest: Any) -> Any:
        widths.append(x.shape[:-1].numel())
        return fused(x, *rest)

    with pytest.MonkeyPatch.context() as patch, fused_layers.last_block_at(model, rows, columns):
        patch.setattr(fused_layers._FusedGated, "apply", noting)
        found = model(input_ids=ids).logits[rows, columns]
    assert widths == [60] * (model.config.num_hidden_layers - 1) + [3]
    # for other numbers of rows, processors have kernels that sum in another order
    assert (found - expected).norm() <= 1e-5 * expected.norm()
    # what others ask afterwards is whole again
    assert (model(input_ids=ids).logits - whole).norm() <= 1e-5 * whole.norm()
