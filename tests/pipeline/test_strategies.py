"""The four strategies: which numbers follow from them, and where each came from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lora_trainer.errors import UsageError
from lora_trainer.plan import TrainPlan
from pipeline.request import Request
from pipeline.strategies import (
    ADD_EPOCHS,
    RANKS,
    RATES,
    STRATEGIES,
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
    asked = Request(epochs=4.0, learning_rate=1e-4)
    plan = plan_for(asked, RECORD, {"epochs": 3.0}, dialogues=300, said={"learning_rate": "answer"})
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


def test_the_four_strategies_of_the_guide_ask_for_their_numbers_in_its_order() -> None:
    assert [(row.name, row.emoji.strip(), row.asks) for row in STRATEGIES] == [
        ("incremental", "📈", ("add_epochs",)),
        ("retune", "⚙️", ("learning_rate", "lora_rank", "epochs")),
        ("augment", "📊", ("epochs",)),
        ("custom", "🔧", ("epochs", "learning_rate", "lora_rank")),
    ]
    assert {row.name: row.presets for row in STRATEGIES if row.presets} == {
        "retune": {
            "quality": {"learning_rate": 1e-4, "lora_rank": 16, "epochs": 3.0},
            "fast": {"learning_rate": 3e-4, "lora_rank": 8, "epochs": 2.0},
        }
    }


def test_the_advice_is_the_guides() -> None:
    assert [advice.value for advice in ADD_EPOCHS] == [1.0, 1.5, 2.0, 3.0]
    assert {advice.key: advice.value for advice in RATES} == {
        "rate_careful": 1e-5,
        "rate_steady": 1e-4,
        "rate_default": 2e-4,
        "rate_bold": 5e-4,
    }
    assert {advice.key: advice.value for advice in RANKS} == {"rank_4": 4, "rank_8": 8, "rank_16": 16, "rank_32": 32}


@pytest.mark.parametrize(
    ("name", "dialogues", "suggested", "numbers"),
    [
        ("incremental", 60, {"add_epochs": 1.5}, (3.5, 2e-4, 8)),
        ("retune", 60, {"learning_rate": 1e-4, "lora_rank": 16, "epochs": 3.0}, (3.0, 1e-4, 16)),
        ("augment", 5, {"epochs": 6.5}, (6.5, 2e-4, 8)),
        ("augment", 60, {"epochs": 3.5}, (3.5, 2e-4, 8)),
        ("augment", 300, {"epochs": 2.5}, (2.5, 2e-4, 8)),
        ("custom", 60, {"epochs": 2.0, "learning_rate": 2e-4, "lora_rank": 8}, (2.0, 2e-4, 8)),
    ],
)
def test_accepted_suggestions_make_a_whole_plan(
    name: str, dialogues: int, suggested: dict[str, float], numbers: tuple[float, float, int]
) -> None:
    assert suggestions(name, RECORD, dialogues) == suggested
    plan = plan_for(Request(), RECORD, suggested, dialogues)
    assert (plan.epochs, plan.learning_rate, plan.lora_rank) == numbers
    changed = {"epochs" if number == "add_epochs" else number for number in suggested}
    assert {number for number, source in plan.sources.items() if source == "strategy"} == changed
    assert "answer" not in plan.sources.values()


def test_a_warm_start_counts_its_own_epochs_alone() -> None:
    assert plan_for(Request(warm_start=True, add_epochs=1.5), RECORD, {}, 60).epochs == 1.5
    assert plan_for(Request(warm_start=True), RECORD, {"add_epochs": 1.0}, 60).epochs == 1.0


def test_on_what_stands_added_epochs_count_alone_and_the_other_numbers_stay():
    plan = plan_for(Request(add_epochs=1.5), replace(RECORD, lora_rank=4), {}, 60, new_base=True)
    assert (plan.epochs, plan.lora_rank) == (1.5, 4)


def test_what_is_not_spoken_of_stays_as_recorded() -> None:
    record = TrainPlan(
        epochs=3.0, learning_rate=1e-4, lora_rank=16, lora_alpha=8.0, lora_dropout=0.1, batch_size=2, max_length=512,
        seed=7, scheduler="constant", qlora=True,
    )  # fmt: skip
    plan = plan_for(Request(), record, {}, 300)
    assert plan == TrainPlan(**{**record.to_json(), "sources": plan.sources})
    assert plan.sources == {**dict.fromkeys(plan.sources, "record"), "early_stop": "default"}


@pytest.mark.parametrize(
    ("flags", "number", "value"),
    [
        ({"epochs": 3.0}, "epochs", 3.0),
        ({"ladder": "2,4"}, "epochs", 4.0),
        ({"learning_rate": 1e-4}, "learning_rate", 1e-4),
        ({"lora_rank": 16}, "lora_rank", 16),
        ({"lora_alpha": 5.0}, "lora_alpha", 5.0),
        ({"lora_dropout": 0.0}, "lora_dropout", 0.0),
        ({"batch_size": 2}, "batch_size", 2),
        ({"max_length": 64}, "max_length", 64),
        ({"seed": 0}, "seed", 0),
        ({"scheduler": "cosine"}, "scheduler", "cosine"),
        ({"early_stop": True}, "early_stop", True),
        ({"qlora": True}, "qlora", True),
        ({"no_qlora": True}, "qlora", False),
    ],
    ids=str,
)
def test_every_flag_of_a_number_wins_and_is_named_as_its_source(
    flags: dict[str, Any], number: str, value: float | str
) -> None:
    record = TrainPlan(lora_dropout=0.1, qlora="no_qlora" in flags)
    plan = plan_for(Request(**flags), record, {"epochs": 9.0, "learning_rate": 1e-3, "lora_rank": 2}, 60)
    assert (getattr(plan, number), plan.sources[number]) == (value, "flag")


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
    assert warnings(TrainPlan(learning_rate=5e-4), None, 20) == []
