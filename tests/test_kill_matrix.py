"""Struck at any point, the program loses nothing, and the same command finishes: a sample of `tests.kill_matrix`."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from tests.kill_matrix.__main__ import SEED, main, sampled
from tests.kill_matrix.points import KINDS, Point, Strike, strikes, without_chance
from tests.kill_matrix.state import State, lost, other_files, repeated, unfinished, unnamed_files
from tests.kill_matrix.world import WAYS

ADAPTER = "zzhua/1/adapter/adapter_model.safetensors"
HAND_MADE = {"fern:latest": "fern", "zzhua:backup-20240101-1": "original"}
BEFORE = State(
    models={"zzhua:latest": "old", "zzhua:backup-20261127-1": "older", **HAND_MADE},
    answer="old words",
    files={ADAPTER: "weights", "zzhua/1/run.json": "record"},
    statuses={1: "done"},
    trained={1: "monday"},
)
NEW = State(
    models={"zzhua:latest": "new", "zzhua:backup-20261127-2": "old", **HAND_MADE},
    answer="new words",
    files={**BEFORE.files, "zzhua/2/run.json": "record"},
    statuses={1: "done", 2: "done"},
    trained={1: "monday", 2: "tuesday"},
)
COPY = Point("POST /api/copy", 2)
WRITE = Point("write runs/zzhua/1/run.json.new", 1)


@pytest.mark.posix("a hundred starts take half an hour where there is no fork")
def test_a_sample_of_fifteen_strikes_loses_nothing_and_the_same_command_finishes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seed = os.environ.get("TEST_SEED", str(SEED))
    code = main(["--sample", "15", "--seed", seed])
    told = capsys.readouterr().out
    assert code == 0, told
    assert "15 of 15 cases" in told and f"by seed {seed}" in told


def test_a_sample_has_every_way_and_kind() -> None:
    cases = [(way, Strike(kind, Point("x", nth), "")) for way in WAYS for kind in KINDS for nth in range(9)]
    chosen = sampled(cases, len(WAYS) * len(KINDS), seed=1)
    assert {(way, strike.kind) for way, strike in chosen} == {(way, kind) for way in WAYS for kind in KINDS}
    assert chosen[:12] == sampled(cases, 12, seed=1) != sampled(cases, 12, seed=2)


def test_a_point_is_struck_in_every_way_that_it_can_be() -> None:
    passing = Point("write tmp/rehearsal-*/tiny/config.json", 1)
    points = [COPY, WRITE, passing, Point("rename runs/zzhua/1/run.json.new", 1)]
    assert [str(strike) for strike in strikes(points, "kill")] == [
        "kill before POST /api/copy #2",
        "kill after POST /api/copy #2",
        "kill before write runs/zzhua/1/run.json.new #1",
        "kill after write runs/zzhua/1/run.json.new #1",
        "kill before rename runs/zzhua/1/run.json.new #1",
    ]
    assert [strike.point for strike in strikes(points, "disk")] == [WRITE, passing]
    assert [strike.how for strike in strikes(points, "server")] == ["error", "cut", "lost", "silence"]


def test_what_each_run_makes_up_anew_has_no_part_in_a_points_name() -> None:
    names = [
        "/api/blobs/sha256:" + "0123456789abcdef" * 4,
        "tmp/rehearsal-ab_cd123/tiny/config.json",
        "tmp/tmpab_cd123/x",
        "runs/zzhua/2/checkpoints/checkpoint-12",
    ]
    assert [without_chance(name) for name in names] == [
        "/api/blobs/*",
        "tmp/rehearsal-*/tiny/config.json",
        "tmp/tmp*/x",
        "runs/zzhua/2/checkpoints/checkpoint-12",
    ]


def test_the_old_model_and_the_new_one_are_both_right_until_the_command_has_finished() -> None:
    staged = replace(BEFORE, models={**BEFORE.models, "zzhua:staging-1": "new"})
    assert [*lost(BEFORE, BEFORE, NEW), *lost(BEFORE, staged, NEW), *lost(BEFORE, NEW, NEW)] == []
    assert [*unfinished(BEFORE, NEW, NEW), *other_files(NEW, NEW), *repeated(NEW, NEW, NEW, 0)] == []
    assert list(unfinished(BEFORE, staged, NEW)) == [
        "the new model doesn't stand",
        "zzhua:staging-1 is left behind in Ollama",
        "the backups are other ones than an undisturbed run leaves",
        "the runs are {1: 'done'} in place of {1: 'done', 2: 'done'}",
    ]


def without(state: State, name: str, **models: str) -> State:
    kept = {other: digest for other, digest in state.models.items() if other != name}
    return replace(state, models={**kept, **models})


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (without(BEFORE, "zzhua:latest"), ["the name is gone", "the old model is nowhere"]),
        (
            without(BEFORE, "zzhua:latest", **{"zzhua:latest": "fern"}),
            ["under the name stands neither the old model nor the new", "the old model is nowhere"],
        ),
        (replace(BEFORE, answer="new words"), ["the model answers something else: 'new words'"]),
        (without(BEFORE, "fern:latest"), ["fern:latest is gone"]),
        (without(NEW, "zzhua:backup-20240101-1"), ["zzhua:backup-20240101-1 is gone"]),
        (without(BEFORE, "zzhua:backup-20261127-1"), ["zzhua:backup-20261127-1 is gone"]),
        (
            without(BEFORE, "fern:latest", **{"fern:latest": "old"}),
            ["fern:latest is another model"],
        ),
        (without(NEW, "zzhua:backup-20261127-2"), ["the old model is nowhere"]),
        (replace(BEFORE, files={**BEFORE.files, ADAPTER: "others"}), [f"{ADAPTER} is another file"]),
        (replace(BEFORE, files={}), [f"{ADAPTER} is gone"]),
    ],
)
def test_whatever_is_lost_is_said(now: State, said: list[str]) -> None:
    assert list(lost(BEFORE, now, NEW)) == said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"models": {**NEW.models, "zzhua:backup-20261127-3": "old"}}, "one model has two backups"),
        (
            {"models": {**NEW.models, "zzhua:backup-20261127-1": "older"}},
            "the backups are other ones than an undisturbed run leaves",
        ),
        (
            {"models": {**NEW.models, "rehearsal:0123456789ab": "r"}},
            "rehearsal:* is left behind in Ollama",
        ),
        (
            {"statuses": {1: "done", 2: "broken"}},
            "the runs are {1: 'done', 2: 'broken'} in place of {1: 'done', 2: 'done'}",
        ),
    ],
)
def test_whatever_is_left_undone_is_said(change: dict[str, Any], said: str) -> None:
    assert list(unfinished(BEFORE, replace(NEW, **change), NEW)) == [said]


def test_a_training_done_twice_is_said() -> None:
    again = replace(NEW, trained={1: "monday", 2: "wednesday"})
    assert list(repeated(NEW, again, NEW, 0)) == ["run 2 was trained again, its journal says"]
    assert list(repeated(NEW, NEW, NEW, 3)) == ["3 steps were trained although all trainings were finished"]
    assert list(repeated(BEFORE, NEW, NEW, 3)) == []


def test_files_that_are_left_missing_or_unknown_are_said() -> None:
    now = replace(NEW, files={ADAPTER: "weights", "zzhua/1/run.json": "record", "zzhua/2/zzhua.gguf.part": "half"})
    assert list(other_files(now, NEW)) == ["left behind: zzhua/2/zzhua.gguf.part", "missing: zzhua/2/run.json"]
    assert list(other_files(now, NEW, but=".part")) == ["missing: zzhua/2/run.json"]
    nothing = replace(NEW, files={})
    assert list(other_files(NEW, nothing)) == [f"left behind: {ADAPTER}, zzhua/1/run.json, zzhua/2/run.json"]
    one_more = replace(NEW, files={**NEW.files, "zzhua/9/run.json": "record"})
    assert next(other_files(one_more, nothing)).endswith("zzhua/2/run.json and 1 more")
    assert list(unnamed_files(NEW)) == []
    assert list(unnamed_files(now)) == ["zzhua/2/zzhua.gguf.part is not named in docs/files.md"]
