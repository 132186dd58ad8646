"""What a value that comes from elsewhere has to be: shapes as data, and where a value doesn't have its own."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Shape = Any
"""A type, a predicate, a list with the shape of its entries, a dict with the shape of each field, or one of below."""
_DEEP = 12


@dataclass(frozen=True)
class Maybe:
    """A value of that shape, or null; of a field also none at all."""

    shape: Shape


@dataclass(frozen=True)
class Each:
    """An object with any names, whose values have that shape."""

    shape: Shape


def misfit(value: Any, shape: Shape, place: str = "") -> str | None:
    """Where a value (as JSON has it) doesn't have a shape, as `training.losses[3]`; None where it has it.

    An object may have other fields as well.
    """
    if isinstance(shape, Maybe):
        return None if value is None else misfit(value, shape.shape, place)
    if isinstance(shape, Each):
        if not isinstance(value, dict):
            return place
        found = (misfit(one, shape.shape, f"{place}.{name}") for name, one in value.items())
        return next((wrong for wrong in found if wrong), None)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return place
        found = (misfit(one, shape[0], f"{place}[{at}]") for at, one in enumerate(value))
        return next((wrong for wrong in found if wrong), None)
    if isinstance(shape, tuple):
        fits = isinstance(value, list) and len(value) == len(shape)
        if not fits:
            return place
        found = (misfit(one, own, f"{place}[{at}]") for at, (one, own) in enumerate(zip(value, shape, strict=True)))
        return next((wrong for wrong in found if wrong), None)
    if isinstance(shape, dict):
        return _misfit_of_object(value, shape, place)
    return None if _is(value, shape) else place or "?"


def _misfit_of_object(value: Any, shape: Mapping[str, Shape], place: str) -> str | None:
    if not isinstance(value, dict):
        return place or "?"
    for name, own in shape.items():
        where = f"{place}.{name}" if place else name
        if name not in value:
            if not isinstance(own, Maybe):
                return where
        elif wrong := misfit(value[name], own, where):
            return wrong
    return None


def kept(value: Any, shape: Shape) -> Any:
    """A value that has a shape, without the fields that the shape doesn't name."""
    if isinstance(shape, Maybe):
        return None if value is None else kept(value, shape.shape)
    if isinstance(shape, Each):
        return {name: kept(one, shape.shape) for name, one in value.items()}
    if isinstance(shape, list):
        return [kept(one, shape[0]) for one in value]
    if isinstance(shape, dict):
        return {name: kept(value[name], own) for name, own in shape.items() if name in value}
    return value


def _is(value: Any, shape: type | Callable[[Any], bool]) -> bool:
    if shape is float:
        # True is no number
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    if isinstance(shape, type):
        return type(value) is shape and (not isinstance(value, int) or abs(value) < 1 << 63)
    return bool(shape(value))


def is_plain(value: Any, depth: int = 0) -> bool:
    """Whether nothing in a value is what a terminal obeys, no number is none, and it isn't nested without end."""
    if isinstance(value, str):
        return not any(unicodedata.category(letter) == "Cc" and letter not in "\t\n\r" for letter in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if depth > _DEEP:
        return False
    if isinstance(value, dict):
        return all(is_plain(name) and is_plain(one, depth + 1) for name, one in value.items())
    return not isinstance(value, list) or all(is_plain(one, depth + 1) for one in value)
