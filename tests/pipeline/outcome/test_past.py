"""Past runs are told as their records have them: how they were made, what of them can be compared, what they said."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.plan import TrainPlan
from pipeline.outcome.again import request_again
from pipeline.outcome.answers import comparison_of, shared_answers
from pipeline.outcome.note import MOST, cleaned, is_too_long
from pipeline.outcome.past import past_of
from pipeline.outcome.validation import is_comparable
from pipeline.run.history import History, Run
from tests.support.past_runs import INTRODUCE, compared, keep_rows, published, record_run, record_runs

CREATED = "2026-11-20T11:30:00+00:00"


def test_five_runs_are_told_as_they_were_made(tmp_path: Path) -> None:
    told = past_of(record_runs(tmp_path), 3)
    assert [(past.way, past.made, past.epochs, past.rows, past.stands) for past in told] == [
        ("new", "new", 2.0, 64, False),
        ("incremental", "incremental", 3.5, 64, False),
        ("data", "data", 3.5, 87, True),
        ("declined", "incremental", 6.5, 87, False),
        ("unfinished", "incremental", 5.0, 87, False),
    ]
    assert [past.val_loss for past in told] == [2.77, 2.58, 2.41, 3.02, None]
    assert [past.comparable for past in told] == [True, True, False, True, True]
    assert [past.habits for past in told] == [None, (8, 10), (9, 10), None, None]
    assert [past.added for past in told[1:]] == [1.5, 0.0, 3.0, 1.5]
    assert (told[4].percent, told[4].seconds, told[2].note) == (30, None, "自然")


@pytest.mark.parametrize(
    ("fields", "way"),
    [
        ({"status": "waiting", **published(1)}, "waiting"),
        ({"overwrite": True, **published(1)}, "overwrite"),
        ({"strategy": "retune", **published(1)}, "retune"),
        ({"strategy": "custom", "warm_start": 1, "parent": 1}, "warm"),
        ({"strategy": "custom", "warm_start": 1, "parent": 2}, "custom"),
        ({"status": "failed"}, "unpublished"),
        ({"status": "failed", **published(1)}, "new"),
        ({"status": "running", "trained": False}, "unfinished"),
    ],
    ids=str,
)
def test_what_is_left_to_do_goes_before_how_it_was_made(tmp_path: Path, fields: dict[str, Any], way: str) -> None:
    assert past_of([record_run(tmp_path, CREATED, 2.0, **fields)], None)[0].way == way


def test_a_run_is_at_work_while_a_living_process_holds_its_name(tmp_path: Path) -> None:
    run = record_run(tmp_path, CREATED, 2.0, status="running", trained=False)
    holder = {"pid": os.getpid(), "host": socket.gethostname()}
    (run.folder.parent / "holder.json").write_text(json.dumps(holder), encoding="utf-8")
    assert past_of([run], None)[0].way == "works"


def test_a_published_point_is_what_counts(tmp_path: Path) -> None:
    point = {"point": {"step": 22, "epochs": 1.0}}
    run = record_run(tmp_path, CREATED, 6.5, vals=[(0, 3.18), (22, 2.38), (143, 3.02)], **point, **published(1))
    after = record_run(tmp_path, CREATED, 2.5, strategy="incremental", parent=1)
    assert [(past.epochs, past.val_loss, past.added) for past in past_of([run, after], None)] == [
        (1.0, 2.38, 6.5),
        (2.5, 2.77, 1.5),
    ]


def test_early_stop_counts_at_its_best_step(tmp_path: Path) -> None:
    best = {"plan": {"early_stop": True}, "training": {"best_step": 22}}
    run = record_run(tmp_path, CREATED, 6.5, vals=[(0, 3.18), (22, 2.38), (143, 3.02)], **best)
    assert past_of([run], None)[0].val_loss == 2.38


def pair(tmp_path: Path, one: dict[str, Any], other: dict[str, Any]) -> tuple[Run, Run]:
    return record_run(tmp_path, CREATED, 2.0, **one), record_run(tmp_path, CREATED, 2.0, **other)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {"rows": 87}, True),
        ({}, {"val": "v2"}, False),
        ({}, {"system": "You are Fern."}, False),
        ({}, {"base": {"source": "Qwen/Qwen2.5-0.5B-Instruct", "revision": "another"}}, False),
    ],
    ids=["rows", "validation file", "system prompt", "base model"],
)
def test_validation_losses_compare_on_the_same_rows(
    tmp_path: Path, one: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    assert is_comparable(*pair(tmp_path, one, other)) is same


def split_off(digest: str, fingerprint: str) -> dict[str, Any]:
    files = {"data/train.jsonl": {"rows": 60, "sha256": digest}}
    return {"data": {"train_file": "data/train.jsonl", "val_file": None, "files": files, "rows": 60, "split": True,
                     "fingerprint": fingerprint}}  # fmt: skip


def test_rows_that_were_split_off_are_the_files_and_the_seeds(tmp_path: Path) -> None:
    assert is_comparable(*pair(tmp_path, split_off("a", "1"), split_off("a", "2")))
    assert not is_comparable(*pair(tmp_path, split_off("a", "1"), split_off("b", "2")))
    seeded = {**split_off("a", "2"), "plan": {"seed": 7}}
    assert not is_comparable(*pair(tmp_path, split_off("a", "1"), seeded))


def test_the_same_rows_out_of_another_file_are_known_by_those_kept(tmp_path: Path) -> None:
    one, other = pair(tmp_path, {}, {"val": "v2"})
    keep_rows(one, ["a", "b"], ["c"])
    keep_rows(other, ["b", "a"], ["c", "d"])
    assert is_comparable(one, other)
    keep_rows(other, ["b", "c"], ["c", "d"])
    assert not is_comparable(one, other)


def test_answers_to_the_same_questions_come_from_both_comparisons_and_from_those_with_each_other(
    tmp_path: Path,
) -> None:
    runs = record_runs(tmp_path)
    first, second, third, fourth, _ = runs
    (shared,) = shared_answers(second, third, runs)
    assert shared.question == INTRODUCE
    assert shared.first == "（捏着衣角）我叫林栀。" and shared.second.startswith("（从书架后面")
    assert shared_answers(first, second, runs) == []
    # nobody has asked run 1 itself; run 4 was held against it
    fourth.update(**compared(4, {"1+1=?": "三"}, {"1+1=?": "二二"}, other=1))
    assert [(one.question, one.first, one.second) for one in shared_answers(first, fourth, runs)] == [
        ("1+1=?", "二二", "三")
    ]


def test_without_comparisons_the_last_samples_of_both_are_held_beside_each_other(tmp_path: Path) -> None:
    def sampled(answer: str) -> dict[str, Any]:
        ones = [(22, "nothing yet"), (143, answer)]
        return {"training": {"samples": [{"step": s, "question": "在吗", "answer": a} for s, a in ones]}}

    runs = pair(tmp_path, sampled("在。"), sampled("在、在的"))
    (shared,) = shared_answers(*runs, runs)
    assert (shared.question, shared.first, shared.second) == ("在吗", "在。", "在、在的")


@pytest.mark.parametrize("broken", [None, {}, [], "x", {"before": None, "after": {}, "asked": []}])
def test_a_comparison_that_can_not_be_read_is_none(broken: object) -> None:
    assert comparison_of({"comparison": broken}) is None
    assert comparison_of({}) is None


def test_a_note_has_one_line_and_nothing_that_a_terminal_would_obey() -> None:
    assert cleaned(" 自然\t了\n\n很多 \x1b[31m\u202e红\x00 👩\u200d🚀 ") == "自然 了 很多 [31m红 👩\u200d🚀"
    assert cleaned("\x07\r\n") == ""
    assert not is_too_long("字" * MOST + "\x1b") and is_too_long("字" * (MOST + 1))


def test_what_would_train_it_again_is_a_request_for_the_same_numbers(tmp_path: Path) -> None:
    plan = {"learning_rate": 1e-4, "lora_rank": 16, "lora_dropout": 0.1, "batch_size": 4, "scheduler": "cosine"}
    asked = {"system_source": "flag", "quantize": "f16", "keep_chat_template": True}
    run = record_run(tmp_path, CREATED, 3.5, plan=plan, **asked)
    keep_rows(run, ["a"], ["b"])
    request = request_again(run)
    assert request is not None
    assert request.exists_choice == "overwrite" and request.rows_of_run == 1 and request.system == "你是林栀。"
    assert (request.quantize, request.keep_chat_template, request.temperature) == ("f16", True, 0.7)
    again = TrainPlan(**{**request.plan_numbers(), "scheduler": request.scheduler})
    assert again == TrainPlan(epochs=3.5, **plan)
    assert request.lora_alpha is None


def test_of_rows_that_were_not_kept_the_file_is_named_and_of_another_runs_adapter_nothing(tmp_path: Path) -> None:
    run = record_run(tmp_path, CREATED, 2.0, system_source="none")
    request = request_again(run)
    assert request is not None and request.no_system
    assert request.train_file is not None and request.train_file.name == "train.jsonl"
    del run.record["data"]["train_file"]  # as the first version wrote it
    older = request_again(run)
    assert older is not None and older.train_file == request.train_file
    run.record["data"]["files"] = {}
    assert request_again(run) is None
    assert request_again(record_run(tmp_path, CREATED, 2.0, warm_start=1)) is None


def test_a_record_of_an_older_version_is_told_without_what_it_lacks(tmp_path: Path) -> None:
    run = History(tmp_path).begin(
        "zzhua", plan=TrainPlan().to_json(), base={"source": "a/base"}, request={}, strategy=None
    )
    run.mark_done("train", 5.0, training={"losses": [[1, 2.5]], "val_losses": []})
    run.update(status="done")
    (past,) = past_of([run], None)
    assert (past.way, past.rows, past.val_loss, past.habits, past.note) == ("new", None, None, None, "")
