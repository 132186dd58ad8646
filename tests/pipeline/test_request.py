"""A Request holds what flags and answers say, and refuses what contradicts itself."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from lora_trainer.errors import UsageError
from pipeline.flags import FLAGS
from pipeline.request import PLAN_NUMBERS, Request

CONTRADICTIONS: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    ({"force": True}, {"continue_train": True}),
    ({"force": True}, {"strategy": "custom"}),
    ({"force": True}, {"add_epochs": 1.0}),
    ({"force": True}, {"warm_start": True}),
    ({"system": "你是林栀。"}, {"no_system": True}),
    ({"resume": True}, {"restart": True}),
    ({"add_epochs": 1.0}, {"epochs": 3.0}),
    ({"add_epochs": 1.0}, {"ladder": "1,2"}),
    ({"ladder": "1,2"}, {"epochs": 3.0}),
    ({"from_scratch": True}, {"warm_start": True}),
    ({"qlora": True}, {"no_qlora": True}),
    ({"no_register": True}, {"register_only": True}),
    ({"no_backup": True}, {"keep_backups": 3}),
    ({"no_backup": True}, {"keep_backups": 0}),
    ({"history": True}, {"rollback": True}),
    ({"history": True}, {"verify": True}),
    ({"history": True}, {"register_only": True}),
    ({"rollback": True}, {"verify": True}),
    ({"rollback": True}, {"register_only": True}),
    ({"verify": True}, {"register_only": True}),
    ({"dry_run": True}, {"rollback": True}),
    ({"dry_run": True}, {"verify": True}),
    ({"dry_run": True}, {"register_only": True}),
    ({"dry_run": True}, {"report": True}),
    ({"report": True}, {"history": True}),
    ({"report": True}, {"rollback": True}),
    ({"report": True}, {"verify": True}),
    ({"report": True}, {"register_only": True}),
)


def test_every_flag_is_a_field_and_every_field_a_flag() -> None:
    assert [flag.name for flag in FLAGS] == [f.name for f in fields(Request)]


def test_switches_are_the_boolean_fields() -> None:
    assert {flag.name for flag in FLAGS if flag.kind == "switch"} == {
        f.name for f in fields(Request) if f.type == "bool"
    }


def test_nothing_is_given_unless_it_is_given() -> None:
    defaults = {f.name: f.default for f in fields(Request) if f.default is not None and f.default is not False}
    assert defaults == {}


@pytest.mark.parametrize("pair", CONTRADICTIONS, ids=lambda pair: "-".join(name for flag in pair for name in flag))
def test_flags_that_contradict_each_other_are_refused_by_name(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    with pytest.raises(UsageError) as refused:
        Request(**pair[0], **pair[1])
    assert refused.value.key == "error.flag.contradiction"
    assert {refused.value.values["first"], refused.value.values["second"]} == {
        f"--{name}" for flag in pair for name in flag
    }
    # each alone is fine
    assert [Request(**flag) is not None for flag in pair] == [True, True]


@pytest.mark.parametrize(
    "flag",
    [{"continue_train": True}, {"strategy": "retune"}, {"add_epochs": 1.5}, {"warm_start": True}, {"from_run": 1}],
    ids=lambda flag: next(iter(flag)),
)
def test_what_only_a_continuation_has_a_use_for_means_to_continue(flag: dict[str, Any]) -> None:
    assert Request(**flag).exists_choice == "continue" and Request(**flag).wants_continuation
    assert Request(**flag, on_exists="continue").exists_choice == "continue"
    for choice in ("overwrite", "skip", "cancel"):
        with pytest.raises(UsageError) as refused:
            Request(**flag, on_exists=choice)
        assert refused.value.key == "error.flag.contradiction"
        assert refused.value.values == {"first": f"--{next(iter(flag))}", "second": f"--on_exists {choice}"}


def test_force_with_on_exists_must_mean_the_same() -> None:
    assert Request(force=True, on_exists="overwrite").exists_choice == "overwrite"
    for choice in ("continue", "skip", "cancel"):
        with pytest.raises(UsageError, match="contradiction"):
            Request(force=True, on_exists=choice)


@pytest.mark.parametrize("strategy", ["retune", "augment", "custom"])
def test_added_epochs_belong_to_the_incremental_strategy(strategy: str) -> None:
    with pytest.raises(UsageError) as refused:
        Request(add_epochs=1.5, strategy=strategy)
    assert refused.value.values == {"first": "--add_epochs", "second": f"--strategy {strategy}"}
    assert Request(add_epochs=1.5, strategy="incremental").add_epochs == 1.5


@pytest.mark.parametrize(("flag", "value"), [("epochs", 4.0), ("ladder", "2,3")])
def test_a_total_of_epochs_is_not_for_the_incremental_strategy(flag: str, value: Any) -> None:
    with pytest.raises(UsageError) as refused:
        Request(strategy="incremental", **{flag: value})
    assert (refused.value.key, refused.value.values) == ("error.flag.total_epochs", {"flag": f"--{flag}"})
    for strategy in ("retune", "augment", "custom"):
        assert Request(strategy=strategy, **{flag: value}).plan_numbers() == {"epochs": 4.0 if flag == "epochs" else 3}


@pytest.mark.parametrize(
    ("flags", "strategy"),
    [
        ({"add_epochs": 1.5}, "incremental"),
        ({"epochs": 3.0}, "custom"),
        ({"learning_rate": 1e-4}, "custom"),
        ({"lora_rank": 16}, "custom"),
        ({"ladder": "1,2"}, "custom"),
        ({"strategy": "augment", "learning_rate": 1e-4}, "augment"),
        ({"lora_dropout": 0.1}, None),
        ({}, None),
    ],
    ids=str,
)
def test_flags_name_a_strategy_or_imply_one(flags: dict[str, Any], strategy: str | None) -> None:
    assert Request(**flags).strategy_choice == strategy


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"epochs": -1.0}, "error.plan.range"),
        ({"epochs": float("nan")}, "error.plan.range"),
        ({"lora_rank": 0}, "error.plan.range"),
        ({"learning_rate": 20.0}, "error.plan.range"),
        ({"temperature": float("inf")}, "error.flag.range"),
        ({"top_p": 1.5}, "error.flag.range"),
        ({"add_epochs": 0.0}, "error.flag.range"),
        ({"keep_backups": -1}, "error.flag.range"),
        ({"quantize": "q9"}, "error.flag.choice"),
        ({"on_exists": "delete"}, "error.flag.choice"),
        ({"strategy": "more"}, "error.flag.choice"),
        ({"ladder": "2"}, "error.flag.ladder"),
        ({"ladder": "2,2"}, "error.flag.ladder"),
        ({"ladder": "2,x"}, "error.flag.ladder"),
        ({"ladder": "0,2"}, "error.flag.ladder"),
        ({"ladder": "0.001,2"}, "error.plan.range"),
        ({"ladder": "1,nan,2"}, "error.plan.range"),
        ({"ladder": "2,1001"}, "error.plan.range"),
        ({"run": 2}, "error.flag.needs"),
        ({"point": 2.5}, "error.flag.needs"),
    ],
    ids=str,
)
def test_values_that_can_not_be_meant_are_usage_errors(values: dict[str, Any], key: str) -> None:
    with pytest.raises(UsageError) as refused:
        Request(**values)
    assert refused.value.key == key


def test_a_ladder_is_climbed_from_the_shortest_rung() -> None:
    assert Request(ladder="3, 1.5,2").rungs == (1.5, 2.0, 3.0)
    assert Request(ladder="3,1.5,2", seed=7).plan_numbers() == {"epochs": 3.0, "seed": 7}


def test_the_choice_for_an_existing_model_is_asked_unless_flags_make_it() -> None:
    assert Request().exists_choice is None
    assert Request(on_exists="ask").exists_choice is None
    assert Request(on_exists="skip").exists_choice == "skip"
    assert Request(epochs=3.0).exists_choice is None and not Request(on_exists="continue").wants_continuation


def test_one_backup_is_kept_unless_flags_say_otherwise() -> None:
    assert Request().backups == 1
    assert Request(no_backup=True).backups == 0
    assert Request(keep_backups=3).backups == 3
    assert Request(keep_backups=0).backups == 0


def test_only_given_numbers_are_plan_numbers() -> None:
    assert Request().plan_numbers() == {}
    assert Request(epochs=3.5, seed=0).plan_numbers() == {"epochs": 3.5, "seed": 0}
    given = {"epochs": 1.0, "learning_rate": 1e-4, "lora_rank": 4, "lora_alpha": 4.0, "lora_dropout": 0.1}
    given |= {"batch_size": 2, "max_length": 64, "seed": 0}
    assert Request(**given).plan_numbers() == given  # type: ignore[arg-type]
    assert set(PLAN_NUMBERS) == set(given)
