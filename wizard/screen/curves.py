"""What a loss curve says in one word: falling, flat or rising, and since when."""

from __future__ import annotations

import math
from collections.abc import Sequence

LEAST = 6
"""Below so many steps a word would be guessed."""
MOST = 400
"""Steps that are looked back on: in a long run the word is about now."""
STEPS_TO_FALL, LEARNT = 20, 0.5
"""After so many steps a loss has fallen, or something is wrong; where it begins below so many nats there may be nothing
left to learn: a token of an answer known by heart costs less."""


def trend(losses: Sequence[float]) -> str | None:
    """The course of the training loss over its later half: "falling", "flat" or "rising"; None while that is too early.

    The slope of a least-squares line, which counts where it is beyond two standard errors of its own (the usual bound:
    one in twenty flat courses is called otherwise) and comes to a hundredth of the level at least (less makes no
    difference to anybody). Steps differ by the rows that they happen to hold, so single losses jump by a tenth and
    more: the last one against the one before says which rows were drawn, and nothing else.
    """
    recent = [loss for loss in losses[-max(10, min(MOST, len(losses) // 2)) :] if math.isfinite(loss)]
    count = len(recent)
    if count < LEAST:
        return None
    middle, level = (count - 1) / 2, sum(recent) / count
    spread = sum((at - middle) ** 2 for at in range(count))
    slope = sum((at - middle) * (loss - level) for at, loss in enumerate(recent)) / spread
    rest = sum((loss - level - slope * (at - middle)) ** 2 for at, loss in enumerate(recent))
    error = math.sqrt(rest / (count - 2) / spread)
    if abs(slope) <= 2 * error or abs(slope) * (count - 1) < 0.01 * level:
        return "flat"
    return "falling" if slope < 0 else "rising"


def trend_of_validation(losses: Sequence[float]) -> str | None:
    """The same for the validation loss, which is of the same rows each time, so that two values can be compared.

    Falling: below all before it; rising: above the lowest; both by a hundredth at least. None for a single value.
    """
    if len(losses) < 2 or not all(map(math.isfinite, losses)):
        return None
    lowest, last = min(losses[:-1]), losses[-1]
    if last < 0.99 * lowest:
        return "falling"
    return "rising" if last > 1.01 * lowest else "flat"


def has_not_fallen(losses: Sequence[float]) -> bool:
    """Whether a run that began at its first step has learnt nothing although it should have by now.

    The mean of the last ten steps isn't a fiftieth below that of the first five: of fewer steps a mean would be luck.
    """
    if len(losses) < STEPS_TO_FALL:
        return False
    first, last = sum(losses[:5]) / 5, sum(losses[-10:]) / 10
    return first > LEARNT and not last < 0.98 * first
