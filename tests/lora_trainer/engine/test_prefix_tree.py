"""A step's tree has the loss and the gradients of its padded batch, whatever its sequences share."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_trainer.data.encode import EncodedSequence
from lora_trainer.engine.batching import micro_batches, negative_log_likelihood
from lora_trainer.engine.prefix_tree import fork, is_worth, tree_batches
from lora_trainer.engine.tree_trial import off_by, supports_tree, tolerance, tree_negative_log_likelihood
from lora_trainer.models.source import resolve_base_model
from lora_trainer.plan import TrainPlan
from lora_trainer.train import trainable_model
from tests.support.architectures import make
from tests.support.tiny import make_tiny

TREE_FAMILIES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "mistral")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    @cache
    def model(family: str) -> Any:
        torch.set_num_threads(1)
        base = resolve_base_model(str(make_tiny(tmp_path_factory.mktemp(family) / "base", family)))
        adapted = trainable_model(base, TrainPlan(), "cpu", "float32").eval()
        torch.manual_seed(1)
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(0, 0.05)
        return adapted

    return model


def gradients(model: Any, loss_of: Any, batches: Any, weight: float = 1.0) -> tuple[float, torch.Tensor]:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    loss = sum(loss_of(model, batch) for batch in batches) * weight
    return loss.item(), torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])


def assert_equal(model: Any, sequences: list[EncodedSequence], budget: int = 1 << 20) -> None:
    padded = gradients(model, negative_log_likelihood, micro_batches(sequences, 1 << 20, 0))
    tree = gradients(model, tree_negative_log_likelihood, tree_batches(sequences, budget))
    # float32, summed up in another order: some 2e-7 of the loss and 1e-6 of the gradient
    assert tree[0] == pytest.approx(padded[0], rel=1e-5)
    assert (tree[1] - padded[1]).norm() <= 2e-5 * padded[1].norm()


ids = st.integers(5, 60)
few = st.lists(ids, min_size=1, max_size=6)


@st.composite
def dialogues(draw: Any) -> list[EncodedSequence]:
    """Dialogues with a common beginning or none, of several turns, with equal questions and equal rows."""
    system = draw(st.lists(ids, min_size=0, max_size=8))
    sequences = []
    for turns in draw(st.lists(st.lists(st.tuples(few, few), min_size=1, max_size=3), min_size=1, max_size=4)):
        history = [1, *system]
        for question, answer in turns:
            sequences.append(EncodedSequence([*history, *question], [*answer, 2]))
            history = [*history, *question, *answer, 2]
    again = draw(st.sampled_from(sequences))
    other = draw(few)
    return [*sequences, again, EncodedSequence(again.prompt_ids, [*other, 2])]


@pytest.mark.parametrize("family", TREE_FAMILIES)
@settings(max_examples=15, deadline=None)
@given(sequences=dialogues(), budget=st.sampled_from([1 << 20, 12]))
def test_loss_and_gradients_are_those_of_the_padded_batch(models, family, sequences, budget):
    assert_equal(models(family), sequences, budget)


@pytest.mark.parametrize("family", ["gemma3", "gemma2", "mistral"])
def test_sliding_windows_are_kept_in_dialogues_longer_than_them(models, family):
    window = models(family).config.get_text_config().sliding_window
    generator = torch.Generator().manual_seed(0)

    def text(length: int) -> list[int]:
        return torch.randint(5, 60, (length,), generator=generator).tolist()

    system = text((window or 16) + 7)
    assert_equal(models(family), [EncodedSequence([1, *system, *text(9)], [*text(5), 2]) for _ in range(3)])


def test_what_is_common_is_written_once_and_duplicates_weigh_more():
    one = EncodedSequence([1, 2, 3], [4, 5])
    two = EncodedSequence([1, 2, 6], [4, 5])
    (tree,) = tree_batches([one, two, one], 100)
    assert tree.input_ids.tolist() == [[1, 2, 3, 4, 6, 4]] and tree.position_ids.tolist() == [[0, 1, 2, 3, 2, 3]]
    assert tree.ends.tolist() == [6, 6, 4, 4, 6, 6]
    assert tree.weights.tolist() == [2, 2, 1, 1] and tree.targets.tolist() == [4, 5, 4, 5]


def test_one_question_with_two_answers_has_two_targets_at_one_place():
    (tree,) = tree_batches([EncodedSequence([1, 2], [3, 9]), EncodedSequence([1, 2], [4, 9])], 100)
    assert tree.input_ids.tolist() == [[1, 2, 3, 4]]
    assert tree.positions.tolist() == [1, 2, 3] and tree.target_index.tolist() == [0, 1, 0, 2]


def test_a_budget_splits_between_sequences_and_repeats_only_what_they_share():
    sequences = [EncodedSequence([1, 2, 3, i], [9, 2]) for i in range(10, 14)]
    assert [tree.tokens for tree in tree_batches(sequences, 7)] == [7, 7]
    assert [tree.tokens for tree in tree_batches(sequences, 1)] == [5] * 4


def test_a_tree_that_saves_nothing_is_not_worth_its_mask():
    apart = [EncodedSequence([i, i + 1, i + 2], [9, 2]) for i in range(10, 40, 5)]
    together = [EncodedSequence([1, 2, 3, 4, 5, i], [9, 2]) for i in range(10, 14)]
    assert not is_worth(tree_batches(apart, 100), micro_batches(apart, 100, 0))
    assert is_worth(tree_batches(together, 100), micro_batches(together, 100, 0))


def test_a_trial_is_made_of_two_sequences_that_part():
    first, goes_on = EncodedSequence([1, 2], [3, 4]), EncodedSequence([1, 2, 3, 4, 5], [6, 4])
    other, apart = EncodedSequence([1, 2], [7, 4]), EncodedSequence([8, 2], [7, 4])
    assert fork([apart, other, goes_on, first, first]) == [goes_on, other]
    # of a sequence's last token nothing is computed, so a tree of these two has no branch
    # deeper than a window, where the data are
    deep = [EncodedSequence([8, 2, 3, 4], [5, 6]), EncodedSequence([8, 2, 3, 4], [6, 6])]
    assert fork([other, goes_on, *deep], window=3) == deep
    assert fork([other, goes_on, *deep], window=9) == [goes_on, other]
    assert fork([first, EncodedSequence([1, 2], [3, 9])]) == fork([first, goes_on, apart]) == fork([first]) == []


def matches(model: Any) -> bool:
    off = off_by(model, TOGETHER, 0, "cpu")
    return off is not None and off <= tolerance(model)


TOGETHER = [EncodedSequence([1, 5, 6, 7, 8, i], [9, 10, 2]) for i in range(20, 24)]


@pytest.mark.parametrize("family", TREE_FAMILIES)
def test_the_trial_passes_for_every_family(models, family):
    assert matches(models(family))


@pytest.fixture
def model(tmp_path: Path) -> Any:
    """A fresh adapter, on a model that may be spoilt."""
    return trainable_model(resolve_base_model(str(make_tiny(tmp_path / "base"))), TrainPlan(), "cpu", "float32")


def test_a_layer_that_sees_past_its_mask_is_found_out(model: Any):
    def mix(_: Any, inputs: Any) -> Any:
        # As a convolution does: each token with the one written before it.
        hidden = inputs[0]
        return (hidden + 0.5 * torch.nn.functional.pad(hidden, (0, 0, 1, 0))[:, :-1], *inputs[1:])

    model.get_base_model().model.layers[0].register_forward_pre_hook(mix)
    assert not matches(model)
    model.config.layer_types = ["conv", "full_attention"]
    assert not supports_tree(model.config)


@pytest.mark.parametrize("architecture", ["bloom", "mpt", "falcon_h1", "mamba", "mamba2", "lfm2", "qwen3_5_text"])
def test_models_with_a_state_or_distances_of_their_own_arent_tried(architecture: str, tmp_path: Path):
    assert not supports_tree(make(architecture, tmp_path).config)


@pytest.mark.parametrize("factor", [1.01, 0.0])
def test_gradients_that_are_off_where_the_loss_is_not_are_found_out(model: Any, factor: float):
    def lean(_: Any, inputs: Any) -> Any:
        # As a kernel whose way back is wrong: only in a batch of one, which a tree is.
        hidden = inputs[0]
        still = hidden.detach()
        return (still + factor * (hidden - still) if len(hidden) == 1 else hidden, *inputs[1:])

    assert matches(model)
    model.get_base_model().model.layers[1].register_forward_pre_hook(lean)
    assert not matches(model)
