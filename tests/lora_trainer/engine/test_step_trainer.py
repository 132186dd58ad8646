"""What the optimizer gets at each step: the plan's rate, and the clipped gradient of the step's mean loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook

from lora_trainer.engine import prefix_tree
from lora_trainer.engine.hardware import Hardware
from lora_trainer.events import Event, Note, StepDone
from lora_trainer.models.adapter import adapted_model
from lora_trainer.plan import TrainPlan
from lora_trainer.train import TrainResult, train
from tests.support.tiny import make_tiny
from tests.support.train_tiny import prepared

CPU = Hardware("cpu", "float32", "test", 8 << 30, 8 << 30)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """13 dialogues, without any for validation."""
    base, tokenizer, rows, _ = prepared(make_tiny(tmp_path_factory.mktemp("base")))
    return base, tokenizer, rows, None


class Taken(NamedTuple):
    """What the optimizer found when it took a step."""

    rate: float
    weights: list[torch.Tensor]
    gradients: list[torch.Tensor]


@contextmanager
def watched() -> Iterator[list[Taken]]:
    """The steps that any optimizer takes within."""
    taken: list[Taken] = []

    def note(optimizer: Any, *_: Any) -> None:
        (group,) = {group["lr"]: group for group in optimizer.param_groups}.values()
        learnt = [weight for group in optimizer.param_groups for weight in group["params"]]
        copies = [[each.detach().clone() for each in some] for some in (learnt, [weight.grad for weight in learnt])]
        taken.append(Taken(group["lr"], *copies))

    handle = register_optimizer_step_pre_hook(note)
    try:
        yield taken
    finally:
        handle.remove()


def together(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


@pytest.mark.parametrize(
    ("scheduler", "epochs", "rates"),
    [
        # 13 steps an epoch, whose tenth is 1.3: two steps of warmup; an eighth of 16 steps of decay
        ("steady", 16 / 13, [1.5e-3, *[3e-3] * 13, 2e-3, 1e-3]),
        ("steady", 5 / 13, [1.5e-3, 3e-3, 3e-3, 3e-3, 1.5e-3]),
        ("constant", 5 / 13, [1.5e-3, 3e-3, 3e-3, 3e-3, 3e-3]),
        ("linear", 5 / 13, [1.5e-3, 3e-3, 2.25e-3, 1.5e-3, 0.75e-3]),
        ("cosine", 5 / 13, [1.5e-3, 3e-3, 2.560660e-3, 1.5e-3, 0.439340e-3]),
    ],
)
def test_the_optimizer_takes_each_step_at_the_plans_rate_and_so_it_is_told(
    parts: Any, tmp_path: Path, scheduler: str, epochs: float, rates: list[float]
) -> None:
    plan = TrainPlan(epochs=epochs, batch_size=1, learning_rate=3e-3, scheduler=scheduler)
    events: list[Event] = []
    with watched() as taken:
        train(*parts, plan, tmp_path, listener=events.append, hardware=CPU)
    assert [step.rate for step in taken] == pytest.approx(rates, rel=1e-5)
    assert [event.learning_rate for event in events if isinstance(event, StepDone)] == pytest.approx(rates, rel=1e-5)


def test_a_run_that_goes_on_does_so_at_the_rate_of_its_next_step(parts: Any, tmp_path: Path) -> None:
    plan = TrainPlan(epochs=5 / 13, batch_size=1, learning_rate=3e-3, scheduler="linear")
    done: list[Event] = []
    with watched() as taken:
        train(*parts, plan, tmp_path, listener=done.append, stop=lambda: len(done) > 2, hardware=CPU)
        assert len(taken) < 5
        train(*parts, plan, tmp_path, resume=True, hardware=CPU)
    assert [step.rate for step in taken] == pytest.approx([1.5e-3, 3e-3, 2.25e-3, 1.5e-3, 0.75e-3])


def by_transformers(parts: Any, plan: TrainPlan) -> tuple[float, torch.Tensor]:
    """The mean loss over the supervised tokens of all dialogues, and its gradient, sequence by sequence."""
    base, _, rows, _ = parts
    model = adapted_model(base, plan, "cpu", "float32").train()
    learnt = [weight for weight in model.parameters() if weight.requires_grad]
    sequences = [sequence for row in rows for sequence in row.sequences]
    supervised = sum(len(sequence.completion_ids) for sequence in sequences)
    loss = torch.zeros(())
    for sequence in sequences:
        ids = torch.tensor([sequence.prompt_ids + sequence.completion_ids])
        labels = ids.clone()
        labels[:, : len(sequence.prompt_ids)] = -100
        loss = loss + model(input_ids=ids, labels=labels).loss * len(sequence.completion_ids) / supervised
    return loss.item(), together(list(torch.autograd.grad(loss, learnt)))


@pytest.mark.parametrize("budget", [2048, 40])
@pytest.mark.parametrize(("alpha", "is_clipped"), [(1.0, False), (1000.0, True)])
def test_a_step_takes_the_gradient_of_its_mean_loss_cut_to_a_length_of_one(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: int, alpha: float, is_clipped: bool
) -> None:
    monkeypatch.setattr(Hardware, "token_budget", budget)
    plan = TrainPlan(epochs=1.0, batch_size=13, lora_alpha=alpha)
    loss, gradient = by_transformers(parts, plan)
    assert (gradient.norm().item() > 1) is is_clipped
    with watched() as taken:
        result: TrainResult = train(*parts, plan, tmp_path, hardware=CPU)
    assert result.losses == [(1, pytest.approx(loss, rel=1e-5))]
    found = together(taken[0].gradients)
    expected = gradient / max(1.0, gradient.norm().item())
    # float32, and other orders of summing
    assert (found - expected).norm() <= 1e-4 * expected.norm()


def test_weights_that_nothing_is_learnt_for_stay_as_they_are(parts: Any, tmp_path: Path) -> None:
    with watched() as taken:
        train(*parts, TrainPlan(epochs=2.0, batch_size=13, learning_rate=1e-2), tmp_path, hardware=CPU)
    first, second = taken
    # while B is zero, A has no gradient
    still = [not gradient.any() for gradient in first.gradients]
    same = [torch.equal(*pair) for pair in zip(first.weights, second.weights, strict=True)]
    assert same == still and 0 < sum(still) < len(still)


def test_beginnings_are_computed_once_where_that_is_the_same_and_else_each_time(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, read = TrainPlan(epochs=2.0, batch_size=13, learning_rate=5e-3), 0

    def count(module: Any, inputs: Any) -> None:
        nonlocal read
        if isinstance(module, torch.nn.Embedding):
            read += inputs[0].numel()

    def mix(module: Any, inputs: Any) -> Any:
        """As a convolution does: each token with the one written before it."""
        if type(module).__name__ != "Qwen2DecoderLayer":
            return None
        hidden = inputs[0]
        return (hidden + 0.5 * torch.nn.functional.pad(hidden, (0, 0, 1, 0))[:, :-1], *inputs[1:])

    def run(name: str, *hooks: Any) -> tuple[TrainResult, int, set[str]]:
        nonlocal read
        read, events = 0, list[Event]()
        handles = [register_module_forward_pre_hook(hook) for hook in (count, *hooks)]
        try:
            result = train(*parts, plan, tmp_path / name, listener=events.append, hardware=CPU)
        finally:
            for handle in handles:
                handle.remove()
        return result, read, {event.key for event in events if isinstance(event, Note)}

    shared, few, notes = run("shared")
    mixed, many, mixed_notes = run("mixed", mix)
    assert (notes, mixed_notes) == (set(), {"note.tree.differs"})
    monkeypatch.setattr(prefix_tree, "WORTH", 0.0)
    padded, all_of_them, _ = run("padded")
    # padded, too, the turns of a dialogue are one row: what is left to share is the system prompt
    assert 1.5 * few < all_of_them <= many
    assert [loss for _, loss in shared.losses] == pytest.approx([loss for _, loss in padded.losses], rel=1e-4)
    padded, _, _ = run("mixed and padded", mix)
    assert [loss for _, loss in mixed.losses] == pytest.approx([loss for _, loss in padded.losses], rel=1e-4)


def test_the_first_step_is_the_first_of_a_run_of_any_length(parts: Any, tmp_path: Path) -> None:
    plans = [TrainPlan(epochs=epochs, batch_size=4) for epochs in (0.25, 0.75)]
    losses = [train(*parts, plan, tmp_path / str(plan.epochs), hardware=CPU).losses for plan in plans]
    assert losses[0] == losses[1][:1] and len(losses[1]) == 3
    other = train(*parts, replace(plans[0], seed=1), tmp_path / "other", hardware=CPU).losses
    assert other != losses[0]
