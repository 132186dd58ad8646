"""Sequences that begin another one, computed with it: loss and gradients of each computed alone, in every model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_trainer.data.encode import EncodedSequence
from lora_trainer.engine.batching import micro_batches, negative_log_likelihood
from lora_trainer.engine.chains import chains
from lora_trainer.engine.prefix_tree import tree_batches
from lora_trainer.engine.tree_trial import tree_negative_log_likelihood
from lora_trainer.models.source import resolve_base_model
from lora_trainer.plan import TrainPlan
from lora_trainer.train import trainable_model
from tests.support.architectures import make
from tests.support.gradients import gradients

ATTENTION = ("qwen2", "llama", "gemma3_text", "olmo", "qwen2_moe", "laguna")
STATEFUL = ("lfm2", "falcon_h1", "qwen3_5_text", "mamba2", "bloom")
"""Which tell tokens apart by more than positions and a mask."""
END = 9
token = st.integers(10, 500)
turn = st.lists(token, min_size=1, max_size=6)


@st.composite
def a_step(draw: st.DrawFn) -> list[EncodedSequence]:
    """The sequences of dialogues of 1 to 8 turns: forks, duplicates, turns that aren't learnt."""
    system = draw(turn)
    found: list[EncodedSequence] = []
    for _ in range(draw(st.integers(1, 3))):
        history = list(system)
        for _ in range(draw(st.integers(1, 8))):
            asked, answer = draw(turn), [*draw(turn), END]
            prompt = history + asked
            if draw(st.booleans()) or not found:
                found.append(EncodedSequence(prompt, answer))
            if draw(st.integers(0, 9)) == 0:
                # the same question, answered otherwise
                found.append(EncodedSequence(prompt, [*draw(turn), END]))
            history = prompt + answer
    return found + draw(st.sampled_from(([], found[:1])))


def learner(architecture: str, folder: Any) -> Any:
    make(architecture, folder)
    model = trainable_model(resolve_base_model(str(folder)), TrainPlan(lora_rank=2), "cpu", "float32")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05)
    return model.train()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {name: learner(name, tmp_path_factory.mktemp(name)) for name in (*ATTENTION, *STATEFUL)}


@pytest.mark.parametrize("architecture", [*ATTENTION, *STATEFUL])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(step=a_step())
def test_loss_and_gradients_are_those_of_each_sequence_alone(
    models: dict[str, Any], architecture: str, step: list[EncodedSequence]
) -> None:
    model = models[architecture]
    alone, alone_gradient = gradients(model, [batch for one in step for batch in micro_batches([one], 1, 0)])
    ways: list[tuple[Any, Any]] = [
        (micro_batches(step, 1 << 20, 0), negative_log_likelihood),
        (micro_batches(step, 60, 0), negative_log_likelihood),
    ]
    if architecture in ATTENTION:
        ways.append((tree_batches(step, 1 << 20), tree_negative_log_likelihood))
    for batches, loss_of in ways:
        loss, gradient = gradients(model, batches, loss_of)
        # float32, summed up in another order; a router may choose otherwise at a tie
        assert loss == pytest.approx(alone, rel=1e-4)
        assert (gradient - alone_gradient).norm() <= 1e-3 * alone_gradient.norm()


@settings(deadline=None)
@given(a_step())
def test_every_continuation_is_learnt_as_often_as_it_is_there(step: list[EncodedSequence]) -> None:
    rows = chains(step)
    assert sum(times for row in rows for times in row.wanted.values()) == sum(len(s.completion_ids) for s in step)
    for row in rows:
        assert not any(other is not row and other.ids[: len(row.ids)] == row.ids for other in rows)


def test_the_turns_of_a_dialogue_are_one_row() -> None:
    history, step = [1, 2], []
    for number in range(6):
        step.append(EncodedSequence([*history, 20 + number], [30 + number, END]))
        history = [*history, 20 + number, 30 + number, END]
    (batch,) = micro_batches(step, 1 << 20, 0)
    assert batch.input_ids.tolist() == [history[:-1]]
    assert batch.columns.tolist() == [at for at in range(2, 20) if at % 3 != 1]
    assert batch.targets.tolist() == [token for number in range(6) for token in (30 + number, END)]
