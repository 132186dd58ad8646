"""The loss inside the output layer: exact, and without logits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_trainer.engine import loss
from lora_trainer.engine.loss import weighted_nll
from lora_trainer.models.source import resolve_base_model
from lora_trainer.plan import TrainPlan
from lora_trainer.train import trainable_model
from tests.support.tiny import make_tiny

VOCABULARY, WIDTH = 1000, 24


class Head(torch.nn.Module):
    """The least that weighted_nll asks of a model."""

    def __init__(self, *, bias: bool, scale: float = 1.0, dtype: Any = torch.float32) -> None:
        super().__init__()
        self.head = torch.nn.Linear(WIDTH, VOCABULARY, bias=bias, dtype=dtype).requires_grad_(requires_grad=False)
        self.scale = scale
        self.computed: list[torch.Size] = []
        self.head.register_forward_hook(lambda _m, _i, out: self.computed.append(out.shape))

    def get_output_embeddings(self) -> Any:
        return self.head

    def forward(self, hidden: Any, **_: Any) -> Any:
        out = torch.nn.Module()
        out.logits = self.head(hidden) * self.scale if self.scale != 1 else self.head(hidden)
        return out


def reference(
    model: Head, hidden: Any, rows: Any, columns: Any, target_index: Any, targets: Any, weights: Any
) -> tuple[Any, float]:
    """The loss in float64, and the size of what it is a difference of."""
    head = model.head.double()
    scores = head(hidden[rows, columns].double()) * model.scale
    all_of_them, chosen = scores.logsumexp(-1)[target_index], scores[target_index, targets]
    return (weights * (all_of_them - chosen)).sum(), (weights * (all_of_them.abs() + chosen.abs())).sum().item()


@settings(max_examples=60, deadline=None)
@given(
    positions=st.integers(1, 40),
    more=st.integers(0, 20),
    buffer=st.sampled_from([1, 3000, 20_000, 1 << 22]),
    size=st.sampled_from([0.1, 1.0, 300.0]),
    bias=st.booleans(),
    scale=st.sampled_from([1.0, 0.25]),
    seed=st.integers(0, 1000),
)
def test_loss_and_gradient_are_those_of_float64(
    positions: int, more: int, buffer: int, size: float, bias: bool, scale: float, seed: int
) -> None:
    torch.manual_seed(seed)
    model = Head(bias=bias, scale=scale)
    hidden = (torch.randn(3, 50, WIDTH) * size).requires_grad_()
    where = torch.randperm(150)[:positions]
    rows, columns = where // 50, where % 50
    target_index = torch.cat([torch.arange(positions), torch.randint(0, positions, (more,))])
    targets = torch.randint(0, VOCABULARY, (positions + more,))
    weights = torch.randint(1, 4, (positions + more,)).float()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss, "_BUFFER", buffer)
        ours = weighted_nll(model, {"hidden": hidden}, rows, columns, target_index, targets, weights)
    (gradient,) = torch.autograd.grad(ours * 0.5, hidden)
    exact, size_of_loss = reference(model, hidden, rows, columns, target_index, targets, weights)
    (exact_gradient,) = torch.autograd.grad(exact * 0.5, hidden)
    # A loss is a difference of logits, which may be far larger: float32 rounds these, by up to 2e-7 of their size.
    assert ours.item() == pytest.approx(exact.item(), abs=2e-6 * size_of_loss)
    # A gradient is one of the output layer's rows; a logit of some hundreds is rounded by 3e-5, and its share with it.
    times = torch.zeros(positions).index_add_(0, target_index, weights)
    rounding = 1e-4 * float(times.norm() * model.head.weight.norm(dim=-1).max()) * scale
    assert (gradient - exact_gradient).norm() <= rounding
    with torch.no_grad():
        again = weighted_nll(model.float(), {"hidden": hidden}, rows, columns, target_index, targets, weights)
    assert again.item() == pytest.approx(exact.item(), abs=2e-6 * size_of_loss)


def test_no_logits_are_made_where_nothing_comes_behind_the_output_layer() -> None:
    plain, scaled = Head(bias=False), Head(bias=False, scale=0.5)
    one = torch.tensor([0, 3])
    for model in (plain, scaled):
        for _ in range(2):
            hidden = torch.randn(1, 9, WIDTH)
            weighted_nll(model, {"hidden": hidden}, one * 0, one, torch.arange(2), one, torch.ones(2))
    assert plain.computed == [(1, 0, VOCABULARY)] * 2
    # tried once, then known
    assert [shape[-2] for shape in scaled.computed][-2:] == [2, 2]
    assert len(scaled.computed) == 3


def test_a_loss_of_nothing_does_not_hide_that_a_model_scales_its_logits() -> None:
    torch.manual_seed(0)
    model, columns = Head(bias=False, scale=0.01), torch.tensor([0])
    certain = (2000 * model.head.weight[:1]).view(1, 1, WIDTH)
    ours = weighted_nll(model, {"hidden": certain}, columns, columns, columns, columns, torch.ones(1))
    exact, _ = reference(model, certain, columns, columns, columns, columns, torch.ones(1))
    assert ours.item() == pytest.approx(exact.item(), rel=1e-5) and exact > 0.01


def test_a_float16_gradient_is_not_lost_before_it_is_scaled() -> None:
    """The gradient of a token that is nearly certain is below float16's smallest number, 6e-8, until the loss has been
    multiplied by its scale.
    """
    model = Head(bias=False, dtype=torch.float16)
    weight = torch.zeros(VOCABULARY, WIDTH)
    weight[0, 0] = weight[1, 1] = 1
    weight[2:, 2] = -1
    model.head.weight.copy_(weight)
    # logits of 20 for the target, 0 for another token, and so little for the rest that it makes no difference
    hidden = torch.zeros(1, 1, WIDTH, dtype=torch.float16)
    hidden[0, 0, 0], hidden[0, 0, 2] = 20, 60
    hidden.requires_grad_()
    one = torch.tensor([0])
    ours = weighted_nll(model, {"hidden": hidden}, one, one, one, one, torch.ones(1))
    (gradient,) = torch.autograd.grad(ours * 2**15, hidden)
    assert gradient[0, 0, 1].item() == pytest.approx(math.exp(-20) * 2**15, rel=0.01)


@pytest.mark.parametrize("learnt", [0.0, 40.0])
def test_half_precision_weights_give_the_loss_of_their_own_values(learnt: float) -> None:
    """Also where a token is nearly certain: logits that were rounded would give losses below zero there."""
    torch.manual_seed(1)
    model = Head(bias=False, dtype=torch.bfloat16)
    columns = torch.arange(30)
    targets = torch.randint(0, VOCABULARY, (30,))
    towards = model.head.weight[targets].float()
    hidden = torch.randn(1, 30, WIDTH) + learnt * towards / towards.norm(dim=-1, keepdim=True)
    hidden = hidden.bfloat16().requires_grad_()
    ours = weighted_nll(model, {"hidden": hidden}, columns * 0, columns, columns, targets, torch.ones(30))
    (gradient,) = torch.autograd.grad(ours, hidden)
    exact, _ = reference(model, hidden, columns * 0, columns, columns, targets, torch.ones(30))
    (exact_gradient,) = torch.autograd.grad(exact, hidden)
    assert ours.item() == pytest.approx(exact.item(), rel=1e-4)
    assert (gradient.double() - exact_gradient.double()).norm() <= 4e-3 * exact_gradient.norm()


@pytest.mark.parametrize("family", ["qwen2", "gemma2", "gemma3"])
def test_real_models_have_the_loss_of_transformers(tmp_path: Path, family: str) -> None:
    model = trainable_model(
        resolve_base_model(str(make_tiny(tmp_path / family, family))), TrainPlan(), "cpu", "float32"
    )
    ids = torch.randint(10, 400, (2, 40))
    labels = ids.clone()
    labels[:, :25] = -100
    rows = torch.arange(2).repeat_interleave(15)
    columns = torch.arange(24, 39).repeat(2)
    each = torch.arange(30)
    ours = weighted_nll(model, {"input_ids": ids}, rows, columns, each, ids[rows, columns + 1], torch.ones(30))
    assert ours.item() == pytest.approx(model(input_ids=ids, labels=labels).loss.item() * 30, rel=1e-5)
