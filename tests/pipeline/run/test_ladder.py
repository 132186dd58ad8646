"""Which rung of a ladder is published."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.run.history import Run
from pipeline.run.ladder import best_rung


def rungs(*losses: tuple[float, ...]) -> list[Run]:
    """Trained runs with these validation losses, shortest first."""
    measured = [{"val_losses": [list(point) for point in enumerate(curve)]} for curve in losses]
    return [Run(Path(), {"number": number, "training": training}) for number, training in enumerate(measured, 1)]


@pytest.mark.parametrize(
    ("losses", "number"),
    [
        (((3.0, 2.5), (3.0, 2.0), (3.0, 2.2)), 2),
        (((3.0, 1.0, 2.5), (3.0, 2.0), (3.0, 2.2)), 2),  # what counts is the end of a rung
        (((3.0, 2.5), (3.0, 2.0), (3.0, 2.0)), 2),  # the shorter of two that are as good
        (((3.0, 2.0), (3.0, 2.5), (3.0, 0.0)), 3),
        (((3.0, 2.0), (), ()), 1),
        (((), (), ()), 3),
    ],
)
def test_the_rung_that_ends_lowest_is_published_and_unmeasured_the_longest(
    losses: tuple[tuple[float, ...], ...], number: int
) -> None:
    assert best_rung(rungs(*losses)).number == number
