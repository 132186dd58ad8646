"""Tokens are estimated near enough from characters, and what a step shares counts once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lora_trainer.chat_format import ChatFormat
from lora_trainer.data.dataset import Dataset, load_dataset
from lora_trainer.data.encode import encode
from lora_trainer.engine.batching import micro_batches
from lora_trainer.engine.prefix_tree import is_worth, tree_batches
from lora_trainer.engine.schedule import step_dialogues
from lora_trainer.models.load import chat_format_of, load_tokenizer
from lora_trainer.models.source import resolve_base_model
from lora_trainer.plan import TrainPlan
from pipeline.conversation import embedded_base_model
from pipeline.offers.data_size import data_size
from tests.support.project import ROOT

SMALL = 49152
"""Entries of SmolLM2's vocabulary."""


@pytest.fixture(scope="module")
def smollm2() -> tuple[ChatFormat, object]:
    base = resolve_base_model(str(embedded_base_model()))
    tokenizer = load_tokenizer(base)
    return chat_format_of(base, tokenizer), tokenizer


def really_computed(data: Dataset, plan: TrainPlan, smollm2: tuple[ChatFormat, object], budget: int) -> int:
    """Positions of the engine's own batches."""
    rows, _ = encode(data.train, *smollm2, plan.max_length)
    computed = 0
    for step in range(plan.total_steps(len(rows))):
        sequences = [s for i in step_dialogues(plan, step, len(rows)) for s in rows[i].sequences]
        padded, trees = micro_batches(sequences, budget, 0), tree_batches(sequences, budget)
        computed += sum(batch.tokens for batch in (trees if is_worth(trees, padded) else padded))
    return computed


@pytest.mark.parametrize("no_system", [False, True])
@pytest.mark.parametrize("budget", [2048, 512])
@pytest.mark.parametrize("folder", ["data", "data/demo"])
def test_the_estimate_is_near_what_the_engine_computes(
    smollm2: tuple[ChatFormat, object], folder: str, budget: int, no_system: bool
) -> None:
    data = load_dataset(ROOT / folder, no_system=no_system)
    for plan in (TrainPlan(epochs=1), TrainPlan(epochs=1.5, batch_size=16)):
        computed = really_computed(data, plan, smollm2, budget)
        estimated = data_size(data).tokens(plan, SMALL, budget).computed
        assert computed / 1.25 < estimated < computed * 1.25


def test_supervised_tokens_are_those_of_the_answers(smollm2: tuple[ChatFormat, object]) -> None:
    data = load_dataset(ROOT / "data")
    rows, _ = encode(data.train, *smollm2, 1024)
    tokens = data_size(data).tokens(TrainPlan(epochs=3), SMALL, 2048)
    supervised = 3 * rows.counts()[1]
    assert supervised / 1.25 < tokens.supervised < supervised * 1.25
    assert tokens.longest == pytest.approx(rows.most_tokens()[0], rel=0.25)


def test_answers_that_arent_learnt_count_as_what_is_said_before_the_next(
    smollm2: tuple[ChatFormat, object], tmp_path: Path
) -> None:
    talk = [
        ("user", "在吗？"),
        ("assistant", "（点头）在的，一直都在这里。"),
        ("user", "Hello"),
        ("assistant", "Hi there, how are you today? " * 8),
    ]
    messages = [{"role": role, "content": content} for role, content in talk]
    for last in ([], [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b" * 500, "weight": 0}]):
        row = {"messages": [messages[0], {**messages[1], "weight": 0}, *messages[2:], *last]}
        (tmp_path / "train.jsonl").write_text(json.dumps(row), encoding="utf-8")
        data = load_dataset(tmp_path)
        rows, _ = encode(data.train, *smollm2, 1024)
        tokens = data_size(data).tokens(TrainPlan(epochs=1), SMALL, 2048)
        assert tokens.supervised == pytest.approx(rows.counts()[1], rel=0.3)
        assert tokens.longest == pytest.approx(rows.most_tokens()[0], rel=0.3)


def test_chinese_takes_a_small_vocabulary_more_than_twice_as_many_tokens_as_a_large_one() -> None:
    size = data_size(load_dataset(ROOT / "data"))
    small, large = (size.tokens(TrainPlan(), vocabulary, 2048).computed for vocabulary in (SMALL, 151936))
    assert 2 * large < small < 3 * large


def test_a_shared_prompt_counts_once_a_step(rows: Dataset) -> None:
    size = data_size(rows)
    alone, together = (size.tokens(TrainPlan(epochs=1, batch_size=n), 151936, 2048).computed for n in (1, 24))
    prompt = size.talks[0].prompt[True]
    assert alone - together == pytest.approx(23 * prompt, rel=0.01)


def test_steps_that_are_not_counted_are_like_those_that_are(rows: Dataset) -> None:
    size = data_size(rows)
    once, often = (size.tokens(TrainPlan(epochs=epochs, batch_size=1), 151936, 2048) for epochs in (1, 100))
    assert often.computed == pytest.approx(100 * once.computed, rel=0.05)
    assert (often.validated, often.longest) == (once.validated, once.longest)


def test_files_without_validation_rows_have_nothing_to_evaluate(rows: Dataset) -> None:
    assert data_size(rows).val_rows == 4 and data_size(rows).fingerprint == rows.fingerprint
    without = data_size(replace(rows, val=rows.val.__class__()))
    tokens = without.tokens(TrainPlan(), 151936, 2048)
    assert (without.val_rows, tokens.validated, tokens.validated_answers) == (0, 0, 0)
