"""What a check has found, and how far two ways of computing the same may be apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

UNIT = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Largest relative error of one rounding."""
GRADIENT_UNITS = {"float32": 500, "float16": 20, "bfloat16": 20}
"""Units that the gradients of a step may be off, as a whole (2-norm).

A decoder layer rounds what it passes on some ten times, forward and back. Independent errors add up like a random
walk, and part of them is averaged out in the sums over tokens: six units were seen on a CPU with four layers, and three
times that is allowed. In float32 the sums themselves, of thousands of products in another order, are off by more than
their last rounding: some 35 units were seen, and kernels of another device sum in other orders still.
"""
LOSS_UNITS = {"float32": 50, "float16": 0.2, "bfloat16": 0.2}
"""The same for the loss. A token's is off by half a unit or so (logits of about 1 in a loss of about 10); the mean over
hundreds of them by far less, and its sum is kept in float32, where it has its own roundings."""


class Failed(Exception):
    """A check failed in a way that no figure says."""


class Skipped(Exception):
    """A check can't be done here, for the reason given."""


@dataclass(frozen=True)
class Outcome:
    """The figures of a check, each with the most that it may be."""

    figures: dict[str, tuple[float, float]]
    """Name -> (figure, limit)."""
    words: str = ""
    """What was seen beside the figures."""

    def __post_init__(self) -> None:
        if not self.figures:
            raise ValueError("a check has to compare something")

    @property
    def passed(self) -> bool:
        """Whether each figure is a number within its limit."""
        return all(figure <= limit for figure, limit in self.figures.values())


def gradient_limit(dtype: str) -> float:
    """The largest relative error of a step's gradients that is computed in `dtype`."""
    return GRADIENT_UNITS[dtype] * UNIT[dtype]


def loss_limit(dtype: str) -> float:
    """The same for its loss."""
    return LOSS_UNITS[dtype] * UNIT[dtype]


def apart(ours: dict[str, Any], theirs: dict[str, Any], of: dict[str, Any] | None = None) -> float:
    """How far two sets of tensors are apart (2-norm of the difference), relative to `of`, or else to the second.

    Raises Failed where they aren't the same tensors, or there is nothing to be relative to.
    """
    import torch

    if ours.keys() != theirs.keys() or not theirs:
        raise Failed(f"other tensors: {sorted(ours.keys() ^ theirs.keys())[:3] or 'none at all'}")

    def flat(tensors: dict[str, Any]) -> Any:
        return torch.cat([tensors[name].flatten().double().cpu() for name in sorted(theirs)])

    size = flat(of or theirs).norm().item()
    if not size > 0:
        raise Failed("everything is zero, or not a number")
    return (flat(ours) - flat(theirs)).norm().item() / size
