"""A Request holds what flags and answers say, and refuses what contradicts itself."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.errors import UsageError
from pipeline.flags import FLAGS
from pipeline.request import CONTRADICTIONS, PLAN_NUMBERS, Request


def test_every_flag_is_a_field_and_every_field_a_flag() -> None:
    assert [flag.name for flag in FLAGS] == [f.name for f in fields(Request)]


def test_switches_are_the_boolean_fields() -> None:
    assert {flag.name for flag in FLAGS if flag.kind == "switch"} == {
        f.name for f in fields(Request) if f.type == "bool"
    }


def test_nothing_is_given_unless_it_is_given() -> None:
    defaults = {f.name: f.default for f in fields(Request) if f.default not in (None, False)}
    assert defaults == {}


KINDS: dict[str, Any] = {"switch": True, "float": 1.0, "int": 1, "text": "custom", "path": Path("x")}


@pytest.mark.parametrize("pair", [*CONTRADICTIONS, ("force", "strategy"), ("force", "add_epochs")], ids="-".join)
def test_flags_that_contradict_each_other_are_refused_by_name(pair: tuple[str, str]) -> None:
    def value(name: str) -> Any:
        return KINDS[next(f for f in FLAGS if f.name == name).kind]

    with pytest.raises(UsageError) as refused:
        Request(**{name: value(name) for name in pair})
    assert refused.value.key == "error.flag.contradiction"
    assert {refused.value.values["first"], refused.value.values["second"]} == {f"--{name}" for name in pair}


@pytest.mark.parametrize("choice", ["overwrite", "skip", "cancel"])
def test_a_strategy_is_only_for_continuing(choice: str) -> None:
    with pytest.raises(UsageError, match="--on_exists"):
        Request(strategy="retune", on_exists=choice)
    with pytest.raises(UsageError, match="--continue_train"):
        Request(continue_train=True, on_exists=choice)
    assert Request(strategy="retune", on_exists="continue").exists_choice == "continue"


def test_force_with_on_exists_must_mean_the_same() -> None:
    assert Request(force=True, on_exists="overwrite").exists_choice == "overwrite"
    with pytest.raises(UsageError):
        Request(force=True, on_exists="skip")


def test_added_epochs_belong_to_the_incremental_strategy() -> None:
    with pytest.raises(UsageError):
        Request(add_epochs=1.5, strategy="augment")
    assert Request(add_epochs=1.5).strategy_choice == "incremental"
    assert Request(epochs=3.0).strategy_choice == "custom"
    assert Request(lora_dropout=0.1).strategy_choice is None


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": -1.0},
        {"epochs": float("nan")},
        {"lora_rank": 0},
        {"temperature": float("inf")},
        {"top_p": 1.5},
        {"add_epochs": 0.0},
        {"keep_backups": -1},
        {"quantize": "q9"},
        {"on_exists": "delete"},
    ],
    ids=str,
)
def test_values_out_of_range_are_usage_errors(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Request(**values)


def test_the_choice_for_an_existing_model_is_asked_unless_flags_make_it() -> None:
    assert Request().exists_choice is None
    assert Request(on_exists="ask").exists_choice is None
    assert Request(on_exists="skip").exists_choice == "skip"
    assert Request(add_epochs=1.0).exists_choice == "continue"


def test_one_backup_is_kept_unless_flags_say_otherwise() -> None:
    assert Request().backups == 1
    assert Request(no_backup=True).backups == 0
    assert Request(keep_backups=3).backups == 3


def test_only_given_numbers_are_plan_numbers() -> None:
    assert Request().plan_numbers() == {}
    assert Request(epochs=3.5, seed=0).plan_numbers() == {"epochs": 3.5, "seed": 0}
    assert set(PLAN_NUMBERS) < {f.name for f in fields(Request)}
