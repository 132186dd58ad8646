"""Points along the way: which adapters are kept, and that they are kept whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.engine.along.points import MOST, Points, epochs_at, point_steps
from lora_trainer.engine.checkpoints import ADAPTER_FILES, Checkpoints, adapter_fault
from lora_trainer.engine.schedule import evaluation_steps
from lora_trainer.events import CheckpointSaved, Event, Saving, StepDone
from lora_trainer.plan import TrainPlan
from lora_trainer.train import TrainResult, train
from tests.lora_trainer.test_train import CPU, PLAN, weights, with_other_answers
from tests.support.chance import chance
from tests.support.project import ROOT
from tests.support.tiny import make_tiny
from tests.support.train_tiny import prepared


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def parts(model: Path) -> Any:
    return prepared(model)


@pytest.fixture(scope="module")
def whole(parts: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainResult, Path]:
    folder = tmp_path_factory.mktemp("whole")
    return train(*parts, PLAN, folder, hardware=CPU), folder


def kept(folder: Path) -> dict[str, bytes]:
    """The points on the disk, by the name of their folder, with their weights."""
    found = sorted((folder / "points").glob("*"))
    assert all(sorted(path.name for path in point.iterdir()) == sorted(ADAPTER_FILES) for point in found)
    assert all(adapter_fault(point) is None for point in found)
    return {point.name: (point / ADAPTER_FILES[1]).read_bytes() for point in found}


@pytest.mark.parametrize(
    ("total", "per_epoch", "steps"),
    [
        (10, 4, [2, 4, 6, 8, 10]),
        (9, 4, [2, 4, 6, 8, 9]),
        # half of an odd number of steps is over with the step that passes it
        (15, 5, [3, 5, 8, 10, 13, 15]),
        (40, 10, [5, 10, 15, 20, 25, 30, 35, 40]),
        # more than eight: whole epochs, then every second one
        (45, 10, [10, 20, 30, 40, 45]),
        (120, 10, [20, 40, 60, 80, 100, 120]),
        (120, 2, [16, 32, 48, 64, 80, 96, 112, 120]),
        (3, 1, [1, 2, 3]),
        (2, 100, [2]),
    ],
)
def test_points_are_whole_and_half_epochs_and_at_most_eight(total: int, per_epoch: int, steps: list[int]) -> None:
    assert point_steps(total, per_epoch) == steps


def test_every_point_is_evaluated_and_few_runs_are_evaluated_more_often_for_it() -> None:
    for total in range(1, 200):
        for per_epoch in range(1, 40):
            steps = point_steps(total, per_epoch)
            assert 0 < len(steps) <= MOST and steps[-1] == total
            assert {*steps} <= {*evaluation_steps(total, per_epoch)}
            if total < 2 * per_epoch:
                assert len(evaluation_steps(total, per_epoch)) <= 7


def test_epochs_are_said_as_people_say_them() -> None:
    plan = TrainPlan(epochs=3.3, batch_size=4)
    # 5 steps an epoch, 16 in all (3.3 x 5 is 16.5)
    assert [epochs_at(plan, step, 20) for step in (3, 5, 8, 10, 16)] == [0.5, 1.0, 1.5, 2.0, 3.3]
    assert epochs_at(plan, 4, 20) == 0.8 and epochs_at(plan, 1, 20) == 0.2 and epochs_at(plan, 0, 20) == 0.0
    assert [epochs_at(replace(plan, epochs=3.0), step, 4) for step in (1, 2, 3)] == [1.0, 2.0, 3.0]


def test_a_run_leaves_its_points_and_the_last_one_is_its_adapter(whole: tuple[TrainResult, Path]) -> None:
    result, folder = whole
    assert [(p.step, p.epochs, p.adapter) for p in result.points] == [
        (2, 0.5, "points/2"), (4, 1.0, "points/4"), (6, 1.5, "points/6"), (8, 2.0, "points/8"), (10, 2.5, "adapter"),
    ]  # fmt: skip
    losses = dict(result.val_losses)
    assert [p.val_loss for p in result.points] == [losses[p.step] for p in result.points]
    found = kept(folder)
    assert list(found) == ["2", "4", "6", "8"]
    assert len({*found.values(), weights(result)}) == 5


def test_a_point_is_what_a_run_was_at_that_step(parts: Any, whole: tuple[TrainResult, Path], tmp_path: Path) -> None:
    events: list[Event] = []
    stop = lambda: any(isinstance(event, StepDone) and event.step == 6 for event in events)  # noqa: E731
    train(*parts, PLAN, tmp_path, listener=events.append, stop=stop, hardware=CPU)
    checkpoint = Checkpoints(tmp_path / "checkpoints").at(6)
    assert kept(whole[1])["6"] == (checkpoint / ADAPTER_FILES[1]).read_bytes()


@pytest.mark.parametrize(("kind", "step"), [(StepDone, 3), (StepDone, 4), (Saving, 4), (CheckpointSaved, 6)])
def test_a_run_that_goes_on_has_the_same_points(
    parts: Any, whole: tuple[TrainResult, Path], tmp_path: Path, kind: type[Event], step: int
) -> None:
    events: list[Event] = []
    stop: Callable[[], bool] = lambda: any(isinstance(e, kind) and e.step == step for e in events)  # type: ignore[attr-defined]  # noqa: E731
    first = train(*parts, PLAN, tmp_path, listener=events.append, stop=stop, hardware=CPU)
    assert first.interrupted and first.points == []
    second = train(*parts, PLAN, tmp_path, hardware=CPU, resume=True)
    assert second.points == whole[0].points and kept(tmp_path) == kept(whole[1])


def test_what_a_kill_has_left_out_is_made_up_for_and_half_a_point_is_none(
    parts: Any, whole: tuple[TrainResult, Path], tmp_path: Path
) -> None:
    events: list[Event] = []
    stop = lambda: any(isinstance(event, StepDone) and event.step == 5 for event in events)  # noqa: E731
    train(*parts, PLAN, tmp_path, listener=events.append, stop=stop, hardware=CPU)
    points = tmp_path / "points"
    # killed behind the checkpoint of step 4, while its point was written, and step 2's deleted
    shutil.rmtree(points / "4")
    for torn in ("writing-4", "deleting-2"):
        (points / torn).mkdir()
        (points / torn / ADAPTER_FILES[1]).write_bytes(b"torn")
    # of a longer way, whose checkpoint is gone
    shutil.copytree(points / "2", points / "8")
    (points / "8" / ADAPTER_FILES[1]).write_bytes(b"other")
    result = train(*parts, PLAN, tmp_path, hardware=CPU, resume=True)
    assert kept(tmp_path) == kept(whole[1]) and result.points == whole[0].points


def test_kills_at_random_moments_leave_whole_points(
    model: Path, whole: tuple[TrainResult, Path], tmp_path: Path
) -> None:
    def run(watch: str = "") -> int:
        command = [sys.executable, "-m", "tests.support.train_tiny", str(model), str(tmp_path / "run")]
        arguments = [json.dumps(PLAN.to_json()), str(tmp_path / "told.json"), watch]
        done = subprocess.run([*command, *arguments], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
        return done.returncode

    dice = chance()
    for step in (2, 6):
        # while a point is written, if chance will have it
        assert run(f"kill {step} {dice.uniform(0, 0.1)}") != 0
        for point in Points(tmp_path / "run" / "points", PLAN, 13).steps():
            assert adapter_fault(tmp_path / "run" / "points" / str(point)) is None
    assert run() == 0
    assert kept(tmp_path / "run").keys() == kept(whole[1]).keys()


def test_a_disk_without_links_has_copies(
    parts: Any, whole: tuple[TrainResult, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    train(*parts, PLAN, tmp_path, hardware=CPU)
    assert kept(tmp_path) == kept(whole[1])


def test_without_resume_no_point_is_left_of_before(parts: Any, tmp_path: Path) -> None:
    train(*parts, PLAN, tmp_path, hardware=CPU)
    result = train(*parts, replace(PLAN, epochs=0.5), tmp_path, hardware=CPU)
    assert [(p.step, p.adapter) for p in result.points] == [(2, "adapter")] and not (tmp_path / "points").exists()


def test_a_run_that_may_end_early_keeps_what_is_published_and_what_it_ended_with(parts: Any, tmp_path: Path) -> None:
    base, tokenizer, rows, _ = parts
    others = with_other_answers(tokenizer, base)
    plan = replace(PLAN, epochs=6.0, lora_dropout=0.0, early_stop=True)
    result = train(base, tokenizer, rows, others, plan, tmp_path, hardware=CPU)
    assert result.best_step is not None and result.best_step < result.steps < result.total_steps
    own = {p.step: p.adapter for p in result.points}
    assert own[result.best_step] == "adapter" and own[result.steps] == f"points/{result.steps}"
    assert len(own) <= MOST and kept(tmp_path).keys() == {str(step) for step in own if step != result.best_step}


def test_points_are_thinned_out_while_nobody_knows_where_a_run_ends(tmp_path: Path) -> None:
    plan = TrainPlan(epochs=60.0, batch_size=4, early_stop=True)
    points = Points(tmp_path / "points", plan, 8)
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    for name in ADAPTER_FILES:
        (checkpoint / name).write_bytes(b"{}")
    for step in range(1, 121):
        assert points.is_due(step)
        points.keep(step, checkpoint)
        there = points.steps()
        # one more may be published
        assert len(there) < MOST and there[-1] == step
        if len(there) > 1:
            assert len({there[0], *(after - before for before, after in pairwise(there[:-1]))}) == 1
