"""While a model is trained, no more of a row is in memory than its place in the epoch's order."""

from __future__ import annotations

import gc
import json
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import psutil
import pytest

from lora_trainer.data.dialogues import Dialogues
from lora_trainer.data.encode import encode
from lora_trainer.engine.memory import count_peak_anew, held, peak
from lora_trainer.engine.schedule import step_dialogues
from lora_trainer.models.load import chat_format_of, load_tokenizer
from lora_trainer.models.source import resolve_base_model
from lora_trainer.plan import TrainPlan
from tests.support.program import ROOT
from tests.support.tiny import make_tiny
from tests.support.train_tiny import dialogues


def test_dialogues_that_are_set_aside_take_no_memory_and_come_back_as_they_were() -> None:
    tracemalloc.start()
    talks = Dialogues(dialogues(4000))
    held = tracemalloc.get_traced_memory()[0]
    talks.set_aside()
    gc.collect()  # what pickle used for the last thousand waits for it
    left = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held > 4000 * 500 and left < 4000 * 20
    assert len(talks) == 4000
    assert list(talks) == dialogues(4000)
    talks.set_aside()
    assert talks[-1:] == tuple(dialogues(1, 3999)) and talks == Dialogues(dialogues(4000))
    talks.set_aside()
    assert list(pickle.loads(pickle.dumps(talks))) == dialogues(4000)


def test_no_dialogues_can_be_set_aside_too() -> None:
    none = Dialogues()
    none.set_aside()
    assert list(none) == [] and len(none) == 0


def test_the_order_of_an_epoch_takes_four_bytes_a_dialogue() -> None:
    plan = TrainPlan(epochs=4, batch_size=8, seed=123)
    tracemalloc.start()
    for epoch in range(3):
        step_dialogues(plan, epoch * plan.steps_per_epoch(100_000), 100_000)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert size < 2 * 5 * 100_000


@pytest.mark.linux("elsewhere the pages of a mapped file can't be told from others")
def test_token_ids_that_were_read_count_as_nobodys_memory(tmp_path: Path) -> None:
    base = resolve_base_model(str(make_tiny(tmp_path / "tiny")))
    tokenizer = load_tokenizer(base)
    rows, _ = encode(dialogues(8000), chat_format_of(base, tokenizer), tokenizer, 1000)
    assert rows.counts()[0] > 8000 and rows[0] != rows[1]
    process = psutil.Process()
    before = process.memory_info().shared
    tokens = sum(len(sequence) for i in range(0, 8000, 10) for sequence in rows[i].sequences)
    size = 10 * tokens * 4
    assert size > 1_600_000
    assert process.memory_info().shared - before < size / 4


def test_a_training_holds_no_object_for_any_row(tmp_path: Path) -> None:
    flags = ["--model", str(make_tiny(tmp_path / "tiny")), "--steps", "2", "--rows", "100", "3000"]
    command = [sys.executable, "-m", "bench.preparation", *flags]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    few, many = map(json.loads, done.stdout.splitlines())
    assert many["rows"] - few["rows"] == 2900
    assert many["python_blocks"] - few["python_blocks"] < 2900 / 2


def test_the_peak_is_what_was_held_for_a_moment_until_it_is_counted_anew() -> None:
    now = held("cpu")
    before = peak("cpu")
    assert before > 0.9 * now
    more = bytearray(2 * before)
    del more
    after = peak("cpu")
    assert after > 2 * before and held("cpu") < after
    count_peak_anew("cpu")
    if sys.platform == "linux":
        assert peak("cpu") < 2 * before
