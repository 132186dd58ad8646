"""One step's loss and gradients, however its sequences are split into micro-batches."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_trainer.data.encode import EncodedSequence
from lora_trainer.engine import schedule
from lora_trainer.engine.batching import micro_batches, negative_log_likelihood, shard_for_rank
from lora_trainer.engine.prefix_tree import tree_batches
from lora_trainer.engine.schedule import evaluation_steps, step_dialogues
from lora_trainer.models.source import resolve_base_model
from lora_trainer.plan import TrainPlan
from lora_trainer.train import trainable_model
from tests.support.gradients import gradients
from tests.support.tiny import make_tiny

token = st.integers(10, 500)
sequences = st.lists(
    st.builds(EncodedSequence, st.lists(token, min_size=1, max_size=90), st.lists(token, min_size=1, max_size=12)),
    min_size=1,
    max_size=9,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    import torch

    found = {}
    for family in ("qwen2", "gemma2", "gemma3", "phi3"):
        folder: Path = make_tiny(tmp_path_factory.mktemp("tiny") / family, family)
        model = trainable_model(resolve_base_model(str(folder)), TrainPlan(), "cpu", "float32")
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(0, 0.05)
        found[family] = model
    return found


@settings(max_examples=200, deadline=None)
@given(sequences, st.integers(1, 400))
def test_every_sequence_is_in_one_micro_batch_within_the_budget(step: list[EncodedSequence], budget: int) -> None:
    batches = micro_batches(step, budget, pad_id=0)
    for batch in batches:
        assert batch.input_ids.numel() <= budget or len(batch.input_ids) == 1
    targets: Counter[int] = Counter()
    for batch in batches:
        for target, times in zip(batch.targets.tolist(), batch.weights.tolist(), strict=True):
            targets[target] += int(times)
    assert targets == Counter(t for sequence in step for t in sequence.completion_ids)
    assert sum(len(batch.input_ids) for batch in batches) <= len(step)


@pytest.mark.parametrize("family", ["qwen2", "gemma2", "gemma3", "phi3"])
@settings(max_examples=8, deadline=None)
@given(step=sequences, budget=st.integers(1, 300))
def test_a_split_changes_nothing_but_rounding(
    models: dict[str, Any], family: str, step: list[EncodedSequence], budget: int
) -> None:

    whole, whole_gradient = gradients(models[family], micro_batches(step, 10**6, pad_id=0))
    split, split_gradient = gradients(models[family], micro_batches(step, budget, pad_id=0))
    # float32, summed up in another order
    assert split == pytest.approx(whole, rel=1e-5)
    assert (split_gradient - whole_gradient).norm() <= 2e-5 * whole_gradient.norm()


@pytest.mark.parametrize("family", ["qwen2", "gemma2", "gemma3", "phi3"])
def test_the_loss_is_that_of_transformers(models: dict[str, Any], family: str) -> None:
    import torch

    step = [EncodedSequence([5, 6, 7], [8, 9]), EncodedSequence(list(range(20, 110)), [3, 4, 5])]
    ours = sum(negative_log_likelihood(models[family], batch).item() for batch in micro_batches(step, 10**6, pad_id=0))
    theirs = 0.0
    for sequence in step:
        ids = torch.tensor([sequence.prompt_ids + sequence.completion_ids])
        labels = ids.clone()
        labels[:, : len(sequence.prompt_ids)] = -100
        theirs += models[family](input_ids=ids, labels=labels).loss.item() * len(sequence.completion_ids)
    # float32, summed up in another order
    assert ours == pytest.approx(theirs, rel=1e-5)


@settings(deadline=None)
@given(sequences, st.integers(1, 5))
def test_processes_share_a_step_without_rest(step: list[EncodedSequence], processes: int) -> None:
    parts = [shard_for_rank(step, rank, processes) for rank in range(processes)]
    assert sorted(repr(sequence) for part in parts for sequence in part) == sorted(map(repr, step))
    # as even as whole sequences allow: one more at most, and what a part's first one shares with the part before
    assert max(map(new_tokens, parts)) <= new_tokens(step) / processes + 2 * max(map(len, step))


def new_tokens(part: list[EncodedSequence]) -> int:
    """Tokens that are computed where what sequences begin with in common is computed once."""
    return sum(tree.tokens for tree in tree_batches(part, 1 << 30)) if part else 0


def test_processes_compute_what_is_shared_once() -> None:
    opening = list(range(100, 140))
    turns = [EncodedSequence(opening * turn + [turn], [7, 8]) for turn in range(1, 5)]
    dialogues = [[EncodedSequence([own, *s.prompt_ids], s.completion_ids) for s in turns] for own in range(4)]
    step = [sequence for dialogue in dialogues for sequence in dialogue]
    parts = [shard_for_rank(step, rank, 4) for rank in range(4)]
    assert [sorted(map(repr, part)) for part in parts] == [sorted(map(repr, dialogue)) for dialogue in dialogues]


@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 5))
def test_every_epoch_holds_every_dialogue_once_in_an_order_of_its_own(rows: int, batch: int, seed: int) -> None:
    plan = TrainPlan(batch_size=batch, seed=seed)
    per_epoch = plan.steps_per_epoch(rows)
    epochs = [
        [i for step in range(e * per_epoch, (e + 1) * per_epoch) for i in step_dialogues(plan, step, rows)]
        for e in range(3)
    ]
    assert all(sorted(epoch) == list(range(rows)) for epoch in epochs)
    assert rows < 8 or epochs[0] != epochs[1] != epochs[2]


def test_an_epoch_is_shuffled_once_however_many_steps_it_has() -> None:
    plan = TrainPlan(batch_size=16, epochs=3)
    schedule._order.cache_clear()
    for step in range(plan.total_steps(50_000)):
        step_dialogues(plan, step, 50_000)
    assert schedule._order.cache_info().misses == 3


def test_the_order_is_the_same_on_every_machine() -> None:
    assert step_dialogues(TrainPlan(batch_size=4), 3, 10) == step_dialogues(TrainPlan(batch_size=4, epochs=9), 3, 10)
    assert [step_dialogues(TrainPlan(batch_size=4), step, 10) for step in range(3)] == [
        [0, 3, 4, 8],
        [5, 9, 2, 6],
        [1, 7],
    ]


@given(st.integers(1, 500), st.integers(1, 100))
def test_validation_comes_four_times_at_least_and_at_the_end(total: int, per_epoch: int) -> None:
    steps = evaluation_steps(total, per_epoch)
    assert steps[-1] == total and steps == sorted(set(steps)) and steps[0] >= 1
    assert len(steps) >= min(4, total)
    assert all(b - a <= max(1, per_epoch / 2 + 1) for a, b in zip([0, *steps], steps, strict=False))
