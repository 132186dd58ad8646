"""The four strategies: which numbers follow from them, and where each came from."""

from __future__ import annotations

import pytest

from lora_trainer.errors import UsageError
from lora_trainer.plan import TrainPlan
from pipeline.request import Request
from pipeline.strategies import (
    STRATEGIES,
    Strategy,
    advised_epochs,
    needs_confirmation,
    plan_for,
    suggestions,
    warnings,
)

RECORD = TrainPlan(epochs=2.0, learning_rate=2e-4, lora_rank=8, batch_size=8, seed=7)


def test_a_new_model_gets_the_defaults_of_the_guide() -> None:
    plan = plan_for(Request(), None, {}, dialogues=60)
    assert (plan.epochs, plan.learning_rate, plan.lora_rank, plan.lora_alpha) == (2.0, 2e-4, 8, 16)
    assert set(plan.sources.values()) == {"default"}


@pytest.mark.parametrize(("dialogues", "batch"), [(1, 4), (100, 4), (101, 8), (1000, 8), (1001, 16)])
def test_the_batch_size_follows_the_number_of_dialogues(dialogues: int, batch: int) -> None:
    assert plan_for(Request(), None, {}, dialogues).batch_size == batch


def test_incremental_adds_epochs_to_the_recorded_ones_and_keeps_the_rest() -> None:
    plan = plan_for(Request(), RECORD, {"add_epochs": 1.5}, dialogues=300)
    assert plan.epochs == 3.5
    assert (plan.learning_rate, plan.lora_rank, plan.batch_size, plan.seed) == (2e-4, 8, 8, 7)
    assert plan.sources["epochs"] == "strategy"
    assert plan.sources["learning_rate"] == "record"


def test_incremental_takes_added_epochs_from_the_flag_first() -> None:
    plan = plan_for(Request(add_epochs=3.0), RECORD, {"add_epochs": 1.5}, dialogues=300)
    assert plan.epochs == 5.0


def test_incremental_without_a_record_trains_the_added_epochs() -> None:
    plan = plan_for(Request(), None, {"add_epochs": 1.5}, dialogues=300)
    assert plan.epochs == 1.5
    assert plan.sources["learning_rate"] == "default"


def test_alpha_is_twice_the_rank_also_after_the_rank_changes() -> None:
    plan = plan_for(Request(), RECORD, {"lora_rank": 16}, dialogues=300)
    assert (plan.lora_rank, plan.lora_alpha) == (16, 32)
    assert plan.sources["lora_alpha"] == "default"


def test_an_alpha_given_once_stays_until_the_rank_changes() -> None:
    record = TrainPlan(lora_rank=8, lora_alpha=8, sources={"lora_alpha": "flag"})
    assert plan_for(Request(), record, {"epochs": 3.0}, 60).lora_alpha == 8
    assert plan_for(Request(), record, {"lora_rank": 16}, 60).lora_alpha == 32
    assert plan_for(Request(lora_alpha=5.0), record, {"lora_rank": 16}, 60).lora_alpha == 5


def test_a_flag_goes_before_an_answer_and_an_answer_before_the_record() -> None:
    plan = plan_for(Request(epochs=4.0), RECORD, {"epochs": 3.0, "learning_rate": 1e-4}, dialogues=300)
    assert (plan.epochs, plan.learning_rate) == (4.0, 1e-4)
    assert {name: plan.sources[name] for name in ("epochs", "learning_rate", "lora_rank")} == {
        "epochs": "flag",
        "learning_rate": "answer",
        "lora_rank": "record",
    }


def test_early_stop_holds_for_one_run_only() -> None:
    assert plan_for(Request(early_stop=True), None, {}, 60).early_stop
    assert not plan_for(Request(), TrainPlan(early_stop=True), {}, 60).early_stop


@pytest.mark.parametrize(
    ("dialogues", "advice"),
    [(1, (5, 8)), (19, (5, 8)), (20, (4, 6)), (49, (4, 6)), (50, (3, 4)), (200, (3, 4)), (201, (2, 3))],
)
def test_fewer_dialogues_are_advised_more_epochs(dialogues: int, advice: tuple[float, float]) -> None:
    assert advised_epochs(dialogues) == advice


@pytest.mark.parametrize("row", STRATEGIES, ids=lambda row: row.name)
def test_accepted_suggestions_make_a_whole_plan(row: Strategy) -> None:
    suggested = suggestions(row.name, RECORD, 60)
    assert set(suggested) == set(row.asks)
    plan = plan_for(Request(), RECORD, suggested, 60, answered="strategy")
    assert "answer" not in plan.sources.values()


def test_an_impossible_answer_is_refused() -> None:
    with pytest.raises(UsageError):
        plan_for(Request(), RECORD, {"learning_rate": 20.0}, 60)


def test_more_than_ten_epochs_in_total_are_asked_back() -> None:
    plan = plan_for(Request(), TrainPlan(epochs=8.0), {"add_epochs": 3.0}, dialogues=60)
    assert needs_confirmation(plan)
    assert [note.key for note in warnings(plan, RECORD, 60)] == ["note.many_epochs"]
    assert not needs_confirmation(TrainPlan(epochs=10.0))


def test_changing_several_numbers_gets_the_hint_of_the_guide() -> None:
    plan = TrainPlan(epochs=3.0, learning_rate=1e-4, lora_rank=16)
    assert [(note.key, note.values) for note in warnings(plan, RECORD, 60)] == [
        ("note.one_number_at_a_time", {"count": 3})
    ]
    assert warnings(TrainPlan(epochs=3.0), RECORD, 60) == []


@pytest.mark.parametrize(("scheduler", "told"), [("steady", 0), ("constant", 0), ("cosine", 1), ("linear", 1)])
def test_a_schedule_that_cannot_be_gone_on_with_is_noted(scheduler: str, told: int) -> None:
    notes = warnings(TrainPlan(scheduler=scheduler), None, 60)
    assert [note.key for note in notes] == ["note.schedule_knows_its_end"] * told


def test_few_dialogues_and_a_bold_rate_are_noted() -> None:
    keys = [note.key for note in warnings(TrainPlan(learning_rate=2e-3), None, 19)]
    assert keys == ["note.bold_rate", "note.few_dialogues"]
