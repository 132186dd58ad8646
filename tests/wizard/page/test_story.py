"""What a page takes from a record, also from one of another version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.run.history import History
from tests.wizard.page import records
from wizard.commands import command_of
from wizard.page.report import page
from wizard.page.story import MOST_EARLIER, curve, steps_per_epoch, story_of
from wizard.words import t


def test_a_full_record_is_read_whole(tmp_path: Path) -> None:
    history, run = records.full(tmp_path)
    story = story_of(history, run)
    assert (story.card, story.comparison) == (records.card(), records.comparison())
    assert [round(sample.epochs, 1) for sample in story.samples if sample.question == records.WORDS[0][0]] == [
        0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5
    ]  # fmt: skip
    assert story.losses[-1][0] == pytest.approx(3.5, abs=0.05) and story.val_losses[0][0] == 0
    assert [(other.number, other.same_validation) for other in story.earlier] == [(1, True), (2, False)]
    assert story.unreadable == () and story.again is not None and story.again.rows_of_run == 3


def test_a_record_without_anything_is_a_story_all_the_same(tmp_path: Path) -> None:
    story = story_of(*records.bare(tmp_path))
    assert story.losses == story.val_losses == story.samples == story.earlier == story.unreadable == ()
    assert story.card is None and story.comparison is None and story.before is None


@pytest.mark.parametrize("broken", [{"verdict": "x"}, {"lines": 3}, ["a"], "x", 7], ids=str)
def test_what_is_written_in_another_form_is_told_and_nothing_else_is_lost(tmp_path: Path, broken: Any) -> None:
    history = History(tmp_path)
    learnt = records.training(1.0) | {"samples": broken}
    story = story_of(history, records.begin(history, 1.0, card=broken, comparison=broken, training=learnt))
    assert story.unreadable == ("samples", "card", "comparison")
    assert len(story.losses) == 22 and story.val_losses


def test_only_earlier_runs_with_curves_are_drawn_and_the_continued_one_is_held_against(tmp_path: Path) -> None:
    history = History(tmp_path)
    for _ in range(MOST_EARLIER + 2):
        records.begin(history, 1.0)
    history.begin("linzhi")  # never got to its training
    run = records.begin(history, 2.0, parent=1)
    records.begin(history, 3.0)
    story = story_of(history, run)
    assert [other.number for other in story.earlier] == [3, 4, 5, 6, 7, 8]
    assert story.before is not None and story.before.number == 1
    others = story_of(history, history.runs("linzhi")[-1])
    assert others.before is not None and others.before.number == run.number
    assert story_of(history, history.runs("linzhi")[0]).before is None


@pytest.mark.parametrize(
    ("record", "steps"),
    [
        ({"plan": {"batch_size": 4}, "data": {"rows": 87}}, 22),
        ({"plan": {"batch_size": 8}, "data": {"rows": 3}}, 1),
        ({"plan": {"epochs": 2.0}, "training": {"steps": 44}}, 22),
        ({"plan": {"epochs": 2.0, "batch_size": 4}, "data": {"rows": True}, "training": {"steps": 44}}, 22),
        ({"plan": {"epochs": float("nan")}, "training": {"steps": 44}}, 1),
        ({"plan": [], "data": None, "training": "x"}, 1),
    ],
    ids=str,
)
def test_epochs_are_counted_with_what_the_record_has(record: dict[str, Any], steps: float) -> None:
    assert steps_per_epoch(record) == steps


def test_a_curve_is_of_its_finite_points() -> None:
    points = [
        [1, 2.0],
        [2, float("nan")],
        [3, float("inf")],
        [4, None],
        [5],
        "ab",
        None,
        ["6", 1.0],
        [7, 1],
        [8, 10**400],
    ]
    assert curve({"training": {"losses": points}}, "losses") == ((1.0, 2.0), (7.0, 1.0))
    assert curve({"training": {"losses": "12"}}, "losses") == curve({}, "losses") == ()


def test_the_command_that_trains_the_same_again_says_what_is_not_the_default(tmp_path: Path) -> None:
    history = History(tmp_path)
    values: dict[str, Any] = {"parameters": {"temperature": 0.5, "stop": ["x"]}, "system_source": "flag"}
    run = records.with_rows(records.begin(history, 2.5, **values))
    again = story_of(history, run).again
    assert again is not None
    said = command_of(again).partition("--ollama_name")[2]
    for words in (
        "linzhi",
        "--rows_of_run 1",
        "--on_exists overwrite",
        "--epochs 2.5",
        "--temperature 0.5",
        "--system",
    ):
        assert words in said
    for words in ("--seed", "--stop", "--lora_alpha", "--learning_rate", "--quantize"):
        assert words not in said


@pytest.mark.parametrize(
    "values", [{"warm_start": 1}, {"base": {}}, {"plan": {}}, {"plan": {"epochs": "x"}}, {"parameters": {"top_p": 9.0}}]
)
def test_where_no_command_trains_the_same_none_is_told(tmp_path: Path, values: dict[str, Any]) -> None:
    history = History(tmp_path)
    story = story_of(history, records.with_rows(records.begin(history, **values)))
    assert story.again is None
    told = t("page.again.adapter" if "warm_start" in values else "page.again.unknown")
    assert told in page(story) and "--rows_of_run" not in page(story)
