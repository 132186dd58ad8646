"""The curves: axes with round numbers, lines of a bearable length, earlier runs in the background."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.run.history import History
from tests.wizard.page import records
from wizard.page.curves import SIDE, axes_of, legend, loss_curves, lowest, thinned, ticks
from wizard.page.story import Story, story_of


def story(folder: Path, *epochs: float, **values: object) -> Story:
    """The last of several runs."""
    history = History(folder)
    runs = [records.begin(history, each, **(values if at == len(epochs) - 1 else {})) for at, each in enumerate(epochs)]
    return story_of(history, runs[-1])


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_and_round_and_lie_between(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert 1 <= len(found) <= 8
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in found)
    step = (found[-1] - found[0]) / (len(found) - 1) if len(found) > 1 else 1.0
    mantissa = float(f"{step:e}".partition("e")[0])
    assert min(abs(mantissa - nice) for nice in (1, 2, 2.5, 5, 10)) < 1e-3


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 9)), min_size=1, max_size=3000))
def test_a_thinned_curve_keeps_its_ends_and_its_bounds(points: list[tuple[float, float]]) -> None:
    found = thinned(tuple(points), 100)
    assert len(found) == min(100, len(points))
    assert (found[0], found[-1]) == (points[0], points[-1])
    losses = [loss for _, loss in points]
    assert all(min(losses) - 1e-9 <= loss <= max(losses) + 1e-9 for _, loss in found)


def test_all_of_the_own_curves_lies_within_the_axes(tmp_path: Path) -> None:
    told = story(tmp_path, 2.0, 3.5)
    axes = axes_of(told)
    assert axes is not None
    for epoch, loss in (*told.losses, *told.val_losses):
        assert 0 <= axes.x(epoch) <= 1 and 0 < axes.y(loss) < 1


def test_an_earlier_run_widens_the_axes_but_does_not_press_this_one_flat(tmp_path: Path) -> None:
    alone, beside, far = (axes_of(story(tmp_path / name, *runs)) for name, runs in
                          (("a", (3.0,)), ("b", (5.0, 3.0)), ("c", (60.0, 3.0))))  # fmt: skip
    assert alone is not None and beside is not None and far is not None
    assert alone.epochs[1] == pytest.approx(3.0, abs=0.05) and beside.epochs[1] == pytest.approx(5.0, abs=0.05)
    assert 3.0 <= far.epochs[1] <= 6.1


def test_the_figure_has_both_curves_every_validation_and_the_earlier_runs(tmp_path: Path) -> None:
    told = story(tmp_path, 2.0, 6.0, 3.5, point={"step": 33, "epochs": 1.5})
    figure = loss_curves(told)
    assert figure is not None
    root = ET.fromstring(figure)
    kinds = [path.get("class", "") for path in root.iter("path")]
    assert kinds.count("train") == kinds.count("train-steps") == kinds.count("val") == kinds.count("chosen") == 1
    assert sum("val-dot" in kind for kind in kinds) == len(told.val_losses) and kinds.count("val-dot lowest") == 1
    assert sum(kind.startswith("earlier") for kind in kinds) == 2
    best = lowest(told.val_losses)
    assert any(f"{best[1]:.3f}" in (title.text or "") for title in root.iter("title"))
    assert {"0", "1", "2", "3"} <= {span.text for span in root.iter("span") if span.get("class") == "tick-x"}
    for path in root.iter("path"):
        assert path.get("vector-effect") == "non-scaling-stroke"
        assert re.fullmatch(r"[MLHVh\d. -]+", path.get("d", ""))
    assert legend(told).count("<li>") == 4


def test_the_lines_that_are_known_not_to_be_comparable_are_dashed(tmp_path: Path) -> None:
    told = story(tmp_path, 2.0, 3.5, system="another one")
    figure = loss_curves(told)
    assert figure is not None and 'class="earlier unlike"' in figure and 'class="earlier"' not in figure
    assert 'class="key earlier unlike"' in legend(told)


def test_without_validation_the_training_losses_are_held_against_each_other(tmp_path: Path) -> None:
    told = story(tmp_path, 2.0, 3.5, training=records.training(3.5, validated=False))
    figure = loss_curves(told)
    assert figure is not None and 'class="earlier"' in figure and 'class="val' not in figure


@pytest.mark.parametrize(
    "training",
    [
        {"losses": [[1, 2.0]]},
        {"losses": [], "val_losses": [[0, 0.0]]},
        {"losses": [[1, 0.0], [2, 0.0]]},
        {"losses": [[0, -1e9], [1, 1e9]]},
        {"losses": [[1, 2.0], [2, 2.0]], "val_losses": [[0, 2.0]]},
    ],
)
def test_curves_of_a_point_or_of_one_height_are_drawn(tmp_path: Path, training: dict[str, object]) -> None:
    figure = loss_curves(story(tmp_path, 1.0, training={"steps": 2, **training}))
    assert figure is not None
    for numbers in re.findall(r' d="([^"]+)"', figure):
        assert all(-SIDE <= float(number) <= 2 * SIDE for number in re.findall(r"-?[\d.]+", numbers))


def test_there_is_no_figure_without_losses(tmp_path: Path) -> None:
    assert loss_curves(story(tmp_path, 1.0, training={})) is None
