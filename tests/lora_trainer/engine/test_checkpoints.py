"""Which checkpoint of a run is the best one, which ones are kept, and when a run has seen enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_trainer.engine.checkpoints import Checkpoints, best_step, has_given_up, publish_adapter


def history(*losses: float) -> list[dict[str, Any]]:
    """A log with an evaluation before the first step and after every second one."""
    steps = [{"step": step, "loss": 9.0} for step in range(1, 2 * len(losses) - 1)]
    evaluations = [{"step": 2 * i, "eval_loss": loss} for i, loss in enumerate(losses)]
    return sorted([*steps, *evaluations], key=lambda entry: entry["step"])


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ((3.0, 2.0, 1.0, 1.5), 4),
        ((1.0, 3.0, 2.0, 2.5), 4),  # the base model is none of what was learnt
        ((3.0, 2.0, 2.0, 2.0), 2),
        ((3.0,), None),
        ((), None),
    ],
)
def test_the_best_step_is_the_first_of_the_lowest_validation_loss(losses: tuple[float, ...], best: int | None) -> None:
    assert best_step(history(*losses)) == best


@pytest.mark.parametrize(
    ("losses", "enough"),
    [
        ((9.0, 1.0, 2.0, 2.0, 2.0), False),
        ((9.0, 1.0, 2.0, 2.0, 2.0, 2.0), True),
        ((9.0, 1.0, 2.0, 2.0, 2.0, 0.9, 2.0), False),
        ((0.5, 3.0, 2.0, 1.5, 1.4, 1.3), False),  # never as good as the base model, and still getting better
        ((9.0,), False),
    ],
)
def test_four_evaluations_without_a_better_one_are_enough(losses: tuple[float, ...], enough: bool) -> None:
    assert has_given_up(history(*losses)) is enough


def saved(folder: Path, *steps: int) -> Checkpoints:
    checkpoints = Checkpoints(folder)
    for step in steps:
        checkpoints.write(step, {"adapter_model.safetensors": str(step).encode(), "adapter_config.json": b"{}"})
    return checkpoints


def test_the_newest_two_checkpoints_are_kept_and_those_that_are_named(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 2, 4, 6, 8, 10)
    checkpoints.prune(keep=[4, 7])
    assert checkpoints.steps() == [4, 8, 10]
    checkpoints.keep_only(4)
    assert checkpoints.steps() == [4] and sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-4",
        "writing",
    ]


def test_what_a_killed_process_was_deleting_goes_with_the_others(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for name in ("checkpoint-4", "checkpoint-8", "deleting-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "optimizer.pt").touch()
    checkpoints.keep_only(8)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-8"]


def test_checkpoints_are_in_the_order_of_their_steps_and_nothing_else_is_one(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 10, 9, 100)
    (tmp_path / "checkpoint-9.old").mkdir()
    (checkpoints.writing / "checkpoint-200").mkdir()
    assert checkpoints.steps() == [9, 10, 100]


def test_a_published_adapter_is_the_checkpoints_and_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path / "checkpoints", 1, 2)
    for step in (1, 2):
        publish_adapter(checkpoints.at(step), tmp_path / "adapter")
        assert (tmp_path / "adapter" / "adapter_model.safetensors").read_bytes() == str(step).encode()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "checkpoints"]
