"""A plan's price: added epochs cost themselves, a ladder little more than its longest rung."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.data.dataset import Dataset
from lora_trainer.engine.memory import least_memory
from lora_trainer.engine.schedule import stable_steps
from lora_trainer.plan import TrainPlan
from pipeline.job import library_versions
from pipeline.offers.base_facts import BaseFacts
from pipeline.offers.base_models import RECOMMENDED
from pipeline.offers.cost import plan_cost
from pipeline.offers.data_size import DataSize, data_size
from pipeline.run.beginnings import beginning_of
from pipeline.run.history import History, Run
from tests.pipeline.offers.conftest import machine

PLAN = TrainPlan(epochs=2.0)
"""12 steps of 24 rows, 11 of which are stable."""
BASE = BaseFacts(RECOMMENDED[0].source, RECOMMENDED[0].shape, RECOMMENDED[0].download_bytes)
HERE = machine(h896=1e10)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "runs")


@pytest.fixture
def size(rows: Dataset) -> DataSize:
    return data_size(rows)


def trained(history: History, size: DataSize, plan: TrainPlan = PLAN, **values: Any) -> Run:
    """A run of `plan` with the checkpoint at the end of its stable phase."""
    record = {
        "plan": plan.to_json(),
        "data": {"fingerprint": size.fingerprint},
        "base": {"revision": "weights", "source": BASE.source, "parameters": 1},
        "chat_format": {"end_of_turn": "<|im_end|>"},
        "warm_start": None,
        "request": {},
        "parent": None,
    }
    beginning = beginning_of(record, library_versions(), "cpu", "float32")
    run = history.begin("zzhua", **record, beginning={**beginning, **values})
    steps = plan.total_steps(size.rows)
    run.mark_done("train", 1, training={"steps": steps, "seconds": 9.0, "device": "cpu", "dtype": "float32"})
    stable = stable_steps(steps, plan.scheduler)
    (run.folder / "checkpoints" / f"checkpoint-{stable}").mkdir(parents=True)
    return run


def test_a_new_model_costs_all_of_its_steps(history: History, size: DataSize) -> None:
    cost = plan_cost(PLAN, size, BASE, HERE, history)
    assert (cost.steps, cost.computed_steps, cost.epochs_computed, cost.begins_with) == (12, 12, 2.0, None)
    assert cost.memory_bytes == least_memory(BASE.shape, PLAN, HERE.hardware)
    assert cost.duration is not None and cost.duration.seconds > 0 and not cost.duration.measured


def test_disk_is_what_is_downloaded_written_and_copied(history: History, size: DataSize) -> None:
    alone = plan_cost(PLAN, size, replace(BASE, download_bytes=0), HERE, history, registers=False).disk_bytes
    copied = plan_cost(PLAN, size, replace(BASE, download_bytes=0), HERE, history).disk_bytes
    downloaded = plan_cost(PLAN, size, BASE, HERE, history).disk_bytes
    full = plan_cost(PLAN, size, replace(BASE, download_bytes=0), HERE, history, quantize="f16").disk_bytes
    assert alone and copied and downloaded and full
    gguf = copied - alone
    assert gguf == pytest.approx(1.07 * BASE.shape.parameters, rel=0.01)
    assert downloaded - copied == BASE.download_bytes
    assert full > 1.5 * copied


def test_a_base_model_that_is_not_known_yet_has_steps_and_no_price(history: History, size: DataSize) -> None:
    cost = plan_cost(PLAN, size, None, HERE, history)
    assert (cost.steps, cost.duration, cost.memory_bytes, cost.disk_bytes) == (12, None, None, None)


def test_added_epochs_cost_themselves(history: History, size: DataSize) -> None:
    run = trained(history, size)
    plan = replace(PLAN, epochs=3.5)
    cost = plan_cost(plan, size, BASE, HERE, history, continues=run)
    assert (cost.steps, cost.computed_steps, cost.begins_with) == (21, 10, (run.number, 11))
    assert cost.epochs_computed == pytest.approx(10 / 6)
    whole = plan_cost(plan, size, BASE, HERE, history)
    anew = plan_cost(plan, size, BASE, HERE, history, continues=run, fresh=True)
    assert whole == anew and whole.computed_steps == 21
    assert cost.duration is not None and whole.duration is not None
    assert cost.duration.seconds < 0.6 * whole.duration.seconds


@pytest.mark.parametrize("change", [{"lora_rank": 16}, {"learning_rate": 1e-4}, {"seed": 7}, {"scheduler": "cosine"}])
def test_whoever_changes_more_than_the_length_pays_for_all_of_it(
    history: History, size: DataSize, change: dict[str, Any]
) -> None:
    run = trained(history, size)
    cost = plan_cost(replace(PLAN, epochs=3.5, **change), size, BASE, HERE, history, continues=run)
    assert cost.computed_steps == 21 and cost.begins_with is None


def test_other_rows_another_device_or_library_share_nothing(history: History, size: DataSize) -> None:
    run = trained(history, size)
    longer = replace(PLAN, epochs=3.5)
    other = replace(size, fingerprint="other dialogues")
    assert plan_cost(longer, other, BASE, HERE, history, continues=run).computed_steps == 21
    card = replace(HERE, hardware=replace(HERE.hardware, device="cuda"))
    assert plan_cost(longer, size, BASE, card, history, continues=run).computed_steps == 21
    old = trained(history, size, versions={"torch": "1"})
    run.update(status="gone", stages={})
    assert plan_cost(longer, size, BASE, HERE, history, continues=old).computed_steps == 21
    assert plan_cost(longer, size, BASE, HERE, history, continues=run).computed_steps == 21


def test_a_shorter_run_goes_on_from_no_later_step_than_its_own_stable_end(history: History, size: DataSize) -> None:
    run = trained(history, size)
    assert plan_cost(replace(PLAN, epochs=1.0), size, BASE, HERE, history, continues=run).computed_steps == 6


def test_a_ladder_costs_the_longest_rung_and_the_decays(history: History, size: DataSize) -> None:
    # 12, 18 and 24 steps; stable up to 11, 16 and 21
    cost = plan_cost(PLAN, size, BASE, HERE, history, rungs=(4.0, 2.0, 3.0))
    assert (cost.steps, cost.computed_steps) == (24, 12 + (18 - 11) + (24 - 16))
    run = trained(history, size)
    shared = plan_cost(PLAN, size, BASE, HERE, history, continues=run, rungs=(3.0, 4.0))
    assert (shared.computed_steps, shared.begins_with) == ((18 - 11) + (24 - 16), (run.number, 11))
    linear = plan_cost(replace(PLAN, scheduler="linear"), size, BASE, HERE, history, rungs=(2.0, 3.0))
    assert linear.computed_steps == 12 + 18
