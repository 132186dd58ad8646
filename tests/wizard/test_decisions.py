"""What flags decide alone, and which flag is named where a decision is missing and nobody can be asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.data.dataset import load_dataset
from lora_trainer.errors import Cancelled, DecisionNeeded, UsageError
from lora_trainer.plan import TrainPlan
from pipeline.request import Request
from pipeline.run.history import History
from pipeline.run.kept import take_over
from pipeline.run.standing import Standing
from wizard.screen.screen import Screen
from wizard.steps import base_model, existing, name, numbers, plan
from wizard.steps.draft import Draft
from wizard.steps.price import Prices
from wizard.steps.talk import Talk


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    history = History(tmp_path / "runs")
    return Talk(Screen(quiet=True), history, Prices(history))


def standing(talk: Talk, **numbers_before: Any) -> Standing:
    run = talk.history.begin(
        "zzhua", plan=TrainPlan(**numbers_before).to_json(), strategy=None, request={}, warm_start=None
    )
    run.update(status="done", base={"source": "recorded", "revision": "x"})
    return Standing(True, run)


def drafted(talk: Talk, tmp_path: Path, choice: str = "continue", **flags: Any) -> Draft:
    """A draft about 60 dialogues; what is continued was trained with the default numbers."""
    for file, count in (("train", 60), ("val", 4)):
        rows = [{"prompt": f"{file} {number}?", "completion": "（点头）"} for number in range(count)]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / f"{file}.jsonl").write_text(text, encoding="utf-8")
    request = Request(ollama_name="zzhua", data_dir=tmp_path, base_model="base", **flags)
    stands = standing(talk) if choice == "continue" else Standing(False, None)
    data, taken = load_dataset(tmp_path), take_over(request, None)
    return Draft(request, name="zzhua", stands=stands, choice=choice, data=data, taken=taken, base="base")


def decided(talk: Talk, tmp_path: Path, choice: str = "continue", **flags: Any) -> Draft:
    draft = numbers.settle(numbers.choose_strategy(drafted(talk, tmp_path, choice, **flags), talk), talk)
    return plan.settle(draft, talk)


@pytest.mark.parametrize(
    ("flags", "strategy", "wanted"),
    [
        ({"add_epochs": 1.5}, "incremental", (3.5, 2e-4, 8)),
        ({"add_epochs": 1.5, "learning_rate": 1e-4}, "incremental", (3.5, 1e-4, 8)),
        ({"strategy": "incremental", "add_epochs": 1.5, "lora_rank": 16}, "incremental", (3.5, 2e-4, 16)),
        ({"strategy": "augment", "epochs": 5.0}, "augment", (5.0, 2e-4, 8)),
        ({"strategy": "augment", "epochs": 5.0, "learning_rate": 1e-4}, "augment", (5.0, 1e-4, 8)),
        ({"strategy": "retune", "learning_rate": 1e-4}, "retune", (2.0, 1e-4, 8)),
        ({"strategy": "retune", "lora_rank": 16}, "retune", (2.0, 2e-4, 16)),
        ({"strategy": "retune", "epochs": 3.0}, "retune", (3.0, 2e-4, 8)),
        ({"strategy": "custom", "lora_rank": 16}, "custom", (2.0, 2e-4, 16)),
        ({"ladder": "2,3"}, "custom", (3.0, 2e-4, 8)),
    ],
    ids=str,
)
def test_flags_alone_decide_everything_and_hold_with_every_strategy(
    talk: Talk, tmp_path: Path, flags: dict[str, Any], strategy: str, wanted: tuple[float, float, int]
) -> None:
    draft = decided(talk, tmp_path, **flags)
    made = draft.plan
    assert made is not None and draft.is_complete
    assert (draft.strategy, (made.epochs, made.learning_rate, made.lora_rank)) == (strategy, wanted)
    given = flags.keys() & {"epochs", "learning_rate", "lora_rank"}
    assert {name for name, source in made.sources.items() if source == "flag"} >= given


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ({"strategy": "incremental", "learning_rate": 1e-4}, (3.5, 1e-4, 8)),
        ({"strategy": "augment", "learning_rate": 1e-4}, (3.5, 1e-4, 8)),
        ({"strategy": "augment", "lora_rank": 16}, (3.5, 2e-4, 16)),
    ],
    ids=str,
)
def test_a_flag_that_a_strategy_does_not_ask_for_leaves_its_own_question_open(
    talk: Talk, tmp_path: Path, flags: dict[str, Any], wanted: tuple[float, float, int]
) -> None:
    with pytest.raises(DecisionNeeded) as needed:
        decided(talk, tmp_path, **flags)
    assert needed.value.values["flag"] == ("--add_epochs" if flags["strategy"] == "incremental" else "--epochs")
    made = decided(talk, tmp_path, **flags, yes=True).plan
    assert made is not None and (made.epochs, made.learning_rate, made.lora_rank) == wanted


@pytest.mark.parametrize(
    ("strategy", "epochs"), [("incremental", 3.5), ("augment", 3.5), ("retune", 3.0), ("custom", 2.0)]
)
def test_yes_takes_the_suggested_numbers(talk: Talk, tmp_path: Path, strategy: str, epochs: float) -> None:
    made = decided(talk, tmp_path, strategy=strategy, yes=True).plan
    assert made is not None and made.epochs == epochs and made.sources["epochs"] == "strategy"


@pytest.mark.parametrize(
    ("flags", "flag"),
    [
        ({}, "--on_exists"),
        ({"continue_train": True}, "--strategy"),
        ({"strategy": "incremental"}, "--add_epochs"),
        ({"strategy": "augment"}, "--epochs"),
        ({"strategy": "retune"}, "--learning_rate"),
        ({"epochs": 12.0, "continue_train": True}, "--yes"),
    ],
    ids=str,
)
def test_without_a_terminal_a_missing_decision_names_its_flag(
    talk: Talk, tmp_path: Path, flags: Mapping[str, Any], flag: str
) -> None:
    draft = drafted(talk, tmp_path, **flags)
    with pytest.raises(DecisionNeeded) as needed:
        draft = existing.choose(draft, talk)
        draft = numbers.settle(numbers.choose_strategy(draft, talk), talk)
        plan.settle(draft, talk)
    assert needed.value.values["flag"] == flag


def test_without_a_terminal_and_a_name_its_flag_is_named(talk: Talk) -> None:
    with pytest.raises(DecisionNeeded) as needed:
        name.choose_name(Draft(Request()), talk)
    assert needed.value.values["flag"] == "--ollama_name"


def test_yes_alone_decides_nothing_about_an_existing_model(talk: Talk, tmp_path: Path) -> None:
    with pytest.raises(DecisionNeeded) as needed:
        existing.choose(drafted(talk, tmp_path, yes=True), talk)
    assert needed.value.values["flag"] == "--on_exists"


def test_yes_confirms_many_epochs(talk: Talk, tmp_path: Path) -> None:
    made = decided(talk, tmp_path, "new", epochs=12.0, yes=True).plan
    assert made is not None and made.epochs == 12


def test_a_dry_run_asks_for_no_start(talk: Talk, tmp_path: Path) -> None:
    made = decided(talk, tmp_path, "new", epochs=12.0, dry_run=True).plan
    assert made is not None and made.epochs == 12


def test_the_default_base_model_is_taken_and_said_without_a_terminal(
    talk: Talk, capsys: pytest.CaptureFixture[str]
) -> None:
    loud = Talk(Screen(), talk.history, talk.prices)
    new = Draft(Request(), choice="new")
    assert base_model.settle(new, loud).base == base_model.DEFAULT_BASE_MODEL
    assert base_model.DEFAULT_BASE_MODEL in capsys.readouterr().out
    known = Draft(Request(), choice="continue", stands=Standing(None, standing(talk).run))
    assert base_model.settle(known, talk).base == "recorded"
    named = Draft(Request(base_model="x"), choice="continue", stands=known.stands)
    assert base_model.settle(named, talk).base == "x"


@pytest.mark.parametrize("flags", [{"continue_train": True}, {"strategy": "augment"}, {"warm_start": True}], ids=str)
def test_what_does_not_exist_can_not_be_continued(talk: Talk, flags: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="nothing_to_continue"):
        existing.choose(Draft(Request(**flags), name="new"), talk)
    assert existing.choose(Draft(Request(on_exists="continue"), name="new"), talk).choice == "new"


def test_a_warm_start_needs_an_adapter_that_was_recorded(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = Draft(Request(warm_start=True), name="zzhua")
    monkeypatch.setattr(existing, "look", lambda *_: Standing(True, None))
    with pytest.raises(UsageError) as refused:
        existing.choose(draft, talk)
    assert (refused.value.key, refused.value.values) == ("error.warm_start.no_record", {"name": "zzhua"})
    run = standing(talk).run
    monkeypatch.setattr(existing, "look", lambda *_: Standing(True, run))
    assert existing.choose(draft, talk).choice == "continue"


def test_cancel_by_flag_is_a_cancellation_and_skip_is_none(talk: Talk) -> None:
    standing(talk)
    with pytest.raises(Cancelled):
        existing.choose(Draft(Request(on_exists="cancel"), name="zzhua"), talk)
    skipped = existing.choose(Draft(Request(on_exists="skip"), name="zzhua"), talk)
    assert skipped.choice == "skip" and skipped.is_complete
