"""What happens at which step, in numbers worked out by hand."""

from __future__ import annotations

import pytest

from lora_trainer.engine.schedule import dropout_seed, evaluation_steps, learning_rate, rate_factor, stable_steps
from lora_trainer.plan import TrainPlan


@pytest.mark.parametrize(
    ("scheduler", "factors"),
    [
        # An eighth of 24 steps: the last three fall on a line that would meet zero at the 25th.
        ("steady", [1 / 3, 2 / 3, *[1.0] * 19, 3 / 4, 2 / 4, 1 / 4]),
        ("constant", [1 / 3, 2 / 3, *[1.0] * 22]),
        # From the warmup's last step, the third, 22 equal steps lead to zero at the 25th.
        ("linear", [1 / 3, 2 / 3, *[left / 22 for left in range(22, 0, -1)]]),
        (
            "cosine",
            # (1 + cos(pi k / 22)) / 2 of k = 0 … 21
            [
                *[0.333333, 0.666667, 1.000000, 0.994911, 0.979746, 0.954816, 0.920627, 0.877875, 0.827430],
                *[0.770320, 0.707708, 0.640867, 0.571157, 0.500000, 0.428843, 0.359133, 0.292292, 0.229680],
                *[0.172570, 0.122125, 0.079373, 0.045184, 0.020254, 0.005089],
            ],
        ),
    ],
)
def test_the_rate_rises_for_a_tenth_of_an_epoch_and_ends_as_its_schedule_says(
    scheduler: str, factors: list[float]
) -> None:
    found = [rate_factor(step, 24, 24, scheduler) for step in range(24)]
    assert found == pytest.approx(factors, abs=1e-6)


@pytest.mark.parametrize(("steps_per_epoch", "first"), [(1, 1.0), (10, 1.0), (11, 1 / 2), (100, 1 / 10), (101, 1 / 11)])
def test_the_warmup_is_a_tenth_of_an_epoch_rounded_up(steps_per_epoch: int, first: float) -> None:
    assert rate_factor(0, 1000, steps_per_epoch) == pytest.approx(first)


@pytest.mark.parametrize("scheduler", ["steady", "cosine", "linear", "constant"])
def test_runs_shorter_than_their_warmup_only_rise(scheduler: str) -> None:
    rates = [rate_factor(step, 5, 100, scheduler) for step in range(5)]
    assert rates[0] == pytest.approx(0.1) and all(0 < rate <= 0.5 for rate in rates)
    assert 0 < rate_factor(0, 1, 1, scheduler) <= 1


def test_a_plans_rate_is_its_own_in_its_own_schedule() -> None:
    plan = TrainPlan(epochs=2.0, batch_size=4, learning_rate=1e-3, scheduler="cosine")
    # 4 steps an epoch, 8 in all, the first of them the warmup
    rates = [learning_rate(plan, step, 16) for step in range(8)]
    assert rates[::4] == pytest.approx([1e-3, 0.5e-3]) and rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(
    ("scheduler", "total", "stable"),
    [("steady", 1, 0), ("steady", 8, 7), ("steady", 15, 14), ("steady", 16, 14), ("steady", 1000, 875),
     ("constant", 16, 16), ("cosine", 16, 0), ("linear", 16, 0)],
)  # fmt: skip
def test_a_longer_run_is_the_same_one_until_the_last_eighth(scheduler: str, total: int, stable: int) -> None:
    assert stable_steps(total, scheduler) == stable
    if stable:
        rates = [[rate_factor(step, length, 4, scheduler) for step in range(stable)] for length in (total, 3 * total)]
        assert rates[0] == rates[1]


@pytest.mark.parametrize(
    ("total", "steps_per_epoch", "steps"),
    [
        (20, 10, [5, 10, 15, 20]),
        (40, 10, [5, 10, 15, 20, 25, 30, 35, 40]),
        (10, 100, [3, 5, 8, 10]),
        (7, 3, [2, 3, 5, 6, 7]),
        # of a run of one and a half epochs, the first whole one too
        (12, 8, [3, 4, 6, 8, 9, 12]),
        (5, 10, [2, 3, 4, 5]),
        (3, 100, [1, 2, 3]),
        (1, 1, [1]),
    ],
)
def test_validation_comes_every_half_epoch_and_four_times_at_least(
    total: int, steps_per_epoch: int, steps: list[int]
) -> None:
    assert evaluation_steps(total, steps_per_epoch) == steps


def test_no_two_steps_processes_or_seeds_drop_the_same_inputs() -> None:
    plans = [TrainPlan(seed=seed) for seed in range(3)]
    seeds = {
        dropout_seed(plan, step, process) for plan in plans for step in (*range(300), 100_000) for process in range(8)
    }
    assert len(seeds) == 3 * 301 * 8
