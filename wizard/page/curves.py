"""The loss curves of a run as a picture in the page: SVG lines that stretch, and labels beside them that don't.

So one picture serves a phone and a desk: lines keep their width (`vector-effect`), text its size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.run.loss_curve import running_mean
from wizard.page.markup import Markup, element, join
from wizard.page.story import Curve, Story
from wizard.words import t

SIDE = 1000
"""The picture's own units, across and down."""
MOST_POINTS = 500
"""Of one line: a phone has no more columns."""
WIDENED = 2.0
"""Earlier runs may widen the axes of this one up to so many times; what lies beyond is cut off."""
_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Axes:
    """The part of the plane that is drawn: epochs across, losses up."""

    epochs: tuple[float, float]
    losses: tuple[float, float]

    def x(self, epoch: float) -> float:
        """Where an epoch stands, 0 to 1 from the left."""
        return (epoch - self.epochs[0]) / (self.epochs[1] - self.epochs[0])

    def y(self, loss: float) -> float:
        """Where a loss stands, 0 to 1 from the top."""
        return (self.losses[1] - loss) / (self.losses[1] - self.losses[0])


def loss_curves(story: Story) -> Markup | None:
    """The figure; None where the record has no losses."""
    axes = axes_of(story)
    if axes is None:
        return None
    across = [tick for tick in ticks(*axes.epochs) if axes.x(tick) <= 1]
    up = [tick for tick in ticks(*axes.losses) if 0 <= axes.y(tick) <= 1]
    lines = [*_grid(axes, across, up), *_earlier(story, axes), *_own(story, axes), *_point(story, axes)]
    picture = element(
        "svg",
        *lines,
        viewBox=f"0 0 {SIDE} {SIDE}",
        preserveAspectRatio="none",
        role="img",
        aria_label=t("page.curves.label"),
    )
    labels = [_label(number(tick), "tick-y", top=axes.y(tick)) for tick in up]
    labels += [_label(number(tick), "tick-x", left=axes.x(tick)) for tick in across]
    ends = list(_ends(story, axes))
    return element(
        "div",
        element("div", t("page.curves.losses"), class_="axis-y"),
        element("div", picture, *labels, *ends, class_="plot"),
        element("div", t("page.curves.epochs"), class_="axis-x"),
        class_="figure",
    )


def axes_of(story: Story) -> Axes | None:
    """All of this run's curves, and as much of the earlier ones as leaves room for them; None without curves."""
    own = _points(story.losses, story.val_losses)
    if not own:
        return None
    last = max(epoch for epoch, _ in own)
    others = _points(*(run.val_losses if story.val_losses else run.losses for run in story.earlier))
    right = max([last, *(epoch for epoch, _ in others if epoch <= WIDENED * last)]) or 1.0
    low, high = min(loss for _, loss in own), max(loss for _, loss in own)
    room = max(high - low, 0.05 * abs(high), 1e-3) * WIDENED / 2
    seen = [loss for epoch, loss in others if epoch <= right and low - room <= loss <= high + room]
    low, high = min([low, *seen]), max([high, *seen])
    space = max((high - low) * 0.06, 0.02 * abs(high), 1e-3)
    return Axes((0.0, right), (low - space, high + space))


def ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers between two others, at most `most` of them (Heckbert, "Nice numbers for graph labels", 1990)."""
    least = (high - low) / most
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in _STEPS if factor * power >= least)
    first = math.ceil(low / step - 1e-9)
    return [step * count for count in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """A number at an axis."""
    return f"{round(value, 6):g}"


def thinned(curve: Curve, most: int = MOST_POINTS) -> Curve:
    """A curve of at most so many points: means of neighbours, the first and the last ones as they are."""
    if len(curve) <= most:
        return curve
    inner, size = curve[1:-1], (len(curve) - 2) / (most - 2)
    groups = [inner[int(at * size) : int((at + 1) * size)] for at in range(most - 2)]
    means = [tuple(sum(values) / len(group) for values in zip(*group, strict=True)) for group in groups if group]
    return (curve[0], *((mean[0], mean[1]) for mean in means), curve[-1])


def smoothed(curve: Curve) -> Curve:
    """Its running mean."""
    means = running_mean([loss for _, loss in curve])
    return tuple((epoch, mean) for (epoch, _), mean in zip(curve, means, strict=True))


def lowest(curve: Curve) -> tuple[float, float]:
    """The point with the lowest loss."""
    return min(curve, key=lambda point: point[1])


def _points(*curves: Curve) -> list[tuple[float, float]]:
    return [point for curve in curves for point in curve]


def _path(curve: Curve, axes: Axes) -> str:
    points = (f"{axes.x(epoch) * SIDE:.1f} {axes.y(loss) * SIDE:.1f}" for epoch, loss in curve)
    return "M" + "L".join(points)


def _line(curve: Curve, axes: Axes, kind: str) -> Markup:
    return element("path", d=_path(thinned(curve), axes), class_=kind, vector_effect="non-scaling-stroke")


def _dot(point: tuple[float, float], axes: Axes, kind: str, said: str) -> Markup:
    """A line without length and with round ends: a circle that isn't stretched."""
    x, y = axes.x(point[0]) * SIDE, axes.y(point[1]) * SIDE
    here = f"M{x:.1f} {y:.1f}h0"
    return element("path", element("title", said), d=here, class_=kind, vector_effect="non-scaling-stroke")


def _grid(axes: Axes, across: Sequence[float], up: Sequence[float]) -> Iterator[Markup]:
    paths = [f"M{axes.x(tick) * SIDE:.1f} 0V{SIDE}" for tick in across]
    paths += [f"M0 {axes.y(tick) * SIDE:.1f}H{SIDE}" for tick in up]
    yield element("path", d="".join(paths), class_="grid", vector_effect="non-scaling-stroke")


def _earlier(story: Story, axes: Axes) -> Iterator[Markup]:
    for run in story.earlier:
        curve = run.val_losses if story.val_losses else smoothed(run.losses)
        known = run.same_validation or not story.val_losses
        if len(curve) > 1:
            yield _line(curve, axes, "earlier" if known else "earlier unlike")
        elif curve:
            yield _dot(curve[0], axes, "earlier-dot", t("page.run", number=run.number))


def _own(story: Story, axes: Axes) -> Iterator[Markup]:
    if len(story.losses) > 1:
        yield _line(story.losses, axes, "train-steps")
        yield _line(smoothed(story.losses), axes, "train")
    elif story.losses:
        yield _dot(story.losses[0], axes, "train-dot", _said(story.losses[0]))
    if len(story.val_losses) > 1:
        yield _line(story.val_losses, axes, "val")
    for point in story.val_losses:
        kind = "val-dot lowest" if len(story.val_losses) > 1 and point == lowest(story.val_losses) else "val-dot"
        yield _dot(point, axes, kind, _said(point))


def _point(story: Story, axes: Axes) -> Iterator[Markup]:
    """The point that is taken in place of the end."""
    epochs = chosen_epochs(story)
    if epochs is not None and 0 <= axes.x(epochs) <= 1:
        x = axes.x(epochs) * SIDE
        said = element("title", t("page.curves.chosen", epochs=number(epochs)))
        yield element("path", said, d=f"M{x:.1f} 0V{SIDE}", class_="chosen", vector_effect="non-scaling-stroke")


def chosen_epochs(story: Story) -> float | None:
    """How many epochs the model has learnt that is taken in place of the end; None where it is the end's."""
    point = story.record.get("point")
    epochs = point.get("epochs") if isinstance(point, dict) else None
    return float(epochs) if isinstance(epochs, int | float) else None


def _ends(story: Story, axes: Axes) -> Iterator[Markup]:
    """The numbers of earlier runs where their lines end, but where one would stand on another."""
    taken: list[tuple[float, float]] = []
    for run in reversed(story.earlier):
        curve = run.val_losses if story.val_losses else smoothed(run.losses)
        inside = [(axes.x(epoch), axes.y(loss)) for epoch, loss in curve]
        inside = [(x, y) for x, y in inside if 0 <= x <= 1 and 0 <= y <= 1]
        if inside and all(abs(inside[-1][0] - x) > 0.12 or abs(inside[-1][1] - y) > 0.07 for x, y in taken):
            taken.append(inside[-1])
            side = " inward" if inside[-1][0] > 0.9 else ""
            yield _label(t("page.run.short", number=run.number), "end" + side, left=inside[-1][0], top=inside[-1][1])


def _said(point: tuple[float, float]) -> str:
    return t("page.curves.point", epochs=f"{point[0]:.2f}", loss=f"{point[1]:.3f}")


def _label(said: str, kind: str, **places: float) -> Markup:
    style = ";".join(f"{side}:{100 * share:.2f}%" for side, share in places.items())
    return element("span", said, class_=kind, style=style)


def legend(story: Story) -> Markup:
    """What the lines are."""
    kinds = [("train", "page.curves.train")] if story.losses else []
    if story.val_losses:
        kinds.append(("val", "page.curves.val"))
    if any(run.same_validation or not story.val_losses for run in story.earlier):
        kinds.append(("earlier", "page.curves.earlier"))
    if any(not run.same_validation for run in story.earlier) and story.val_losses:
        kinds.append(("earlier unlike", "page.curves.unlike"))
    if chosen_epochs(story) is not None:
        kinds.append(("chosen", "page.curves.chosen_line"))
    rows = [element("li", element("span", class_=f"key {kind}"), t(key)) for kind, key in kinds]
    return element("ul", join(rows), class_="legend")
