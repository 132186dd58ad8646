"""Story: what a page tells of a run, read from its record alone; what the record lacks stays empty.

Records of older versions have little of it, those of later ones may have some of it in another form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.outcome.again import begins_with_adapter, request_again
from pipeline.outcome.asked import Comparison
from pipeline.outcome.card import Card
from pipeline.outcome.validation import validated_alike
from pipeline.request import Request
from pipeline.run.history import History, Run

Curve = tuple[tuple[float, float], ...]
"""(epoch, loss), oldest first; only finite ones."""
MOST_EARLIER = 6
"""Earlier runs that are drawn: of more, none could be told from another."""
_LARGEST = 1e100
_Part = TypeVar("_Part")


@dataclass(frozen=True)
class Sample:
    """An answer along the way."""

    epochs: float
    question: str
    answer: str
    stopped: bool


@dataclass(frozen=True)
class Earlier:
    """An earlier run of the same name."""

    number: int
    losses: Curve
    val_losses: Curve
    same_validation: bool
    """Whether its validation rows are known to be those of the run that the page is about."""
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Story:
    """A run and what it can be held against."""

    record: Mapping[str, Any]
    number: int
    losses: Curve
    val_losses: Curve
    samples: tuple[Sample, ...]
    card: Card | None
    comparison: Comparison | None
    earlier: tuple[Earlier, ...]
    """Those that are drawn, oldest first."""
    before: Earlier | None
    """The run that this one is held against: the one that it continued, else the last one before it."""
    again: Request | None
    """What would train it once more; None where no request does."""
    begins_with_adapter: bool
    """Whether it began with what another run had learnt."""
    unreadable: tuple[str, ...]
    """The parts that the record has in a form that this version doesn't know."""

    @property
    def name(self) -> str:
        """The model's."""
        return str(self.record["name"])

    @property
    def training(self) -> Mapping[str, Any]:
        """What the record has of the training; empty where it didn't get that far."""
        return part(self.record, "training")

    @property
    def plan(self) -> Mapping[str, Any]:
        """The numbers that were trained with."""
        return part(self.record, "plan")


def story_of(history: History, run: Run) -> Story:
    """Read it; raises ResourceError where the records can't be read at all."""
    unreadable: list[str] = []

    def read(name: str, make: Callable[[Any], _Part]) -> _Part | None:
        try:
            value = (part(run.record, "training") if name == "samples" else run.record).get(name)
            return make(value) if value else None
        except (AttributeError, LookupError, TypeError, ValueError):
            unreadable.append(name)
            return None

    others = [other for other in history.readable(run.record["name"]) if other.number < run.number]
    earlier = [one for one in (_earlier(other, run.record) for other in others) if one.losses or one.val_losses]
    continued = (one for one in earlier if one.number == run.record.get("parent"))
    return Story(
        record=run.record,
        number=run.number,
        losses=curve(run.record, "losses"),
        val_losses=curve(run.record, "val_losses"),
        samples=read("samples", _samples) or (),
        card=read("card", Card.from_record),
        comparison=read("comparison", Comparison.from_record),
        earlier=tuple(earlier[-MOST_EARLIER:]),
        before=next(continued, earlier[-1] if earlier else None),
        again=request_again(run),
        begins_with_adapter=begins_with_adapter(run),
        unreadable=tuple(unreadable),
    )


def part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object in a record; an empty one where it has none."""
    value = record.get(name)
    return value if isinstance(value, Mapping) else {}


def curve(record: Mapping[str, Any], name: str) -> Curve:
    """A curve of a training over its epochs."""
    points = part(record, "training").get(name)
    steps = steps_per_epoch(record)
    found = []
    for point in points if isinstance(points, list | tuple) else ():
        step, loss = map(_number, point) if isinstance(point, list | tuple) and len(point) == 2 else (None, None)
        if step is not None and loss is not None:
            found.append((step / steps, loss))
    return tuple(found)


def steps_per_epoch(record: Mapping[str, Any]) -> float:
    """Optimizer steps in an epoch, of which an old record knows only the sum."""
    plan = part(record, "plan")
    rows, batch = _number(part(record, "data").get("rows")), _number(plan.get("batch_size"))
    if rows and batch:
        return float(max(1, math.ceil(rows / batch)))
    steps, epochs = _number(part(record, "training").get("steps")), _number(plan.get("epochs"))
    if steps and epochs:
        return max(1.0, steps / epochs)
    return 1.0


def _earlier(run: Run, record: Mapping[str, Any]) -> Earlier:
    curves = curve(run.record, "losses"), curve(run.record, "val_losses")
    return Earlier(run.number, *curves, validated_alike(run.record, record) == "same", run.record)


def _samples(values: Sequence[Mapping[str, Any]]) -> tuple[Sample, ...]:
    return tuple(
        Sample(float(value["epochs"]), value["question"], value["answer"], bool(value["stopped"])) for value in values
    )


def _number(value: Any) -> float | None:
    """A finite number as it stands in a record; None where it is something else."""
    # beyond that lie infinity and whole numbers that are no float
    is_one = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
    return float(value) if is_one else None
