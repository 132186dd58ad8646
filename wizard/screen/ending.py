"""When a training ends, as a clock time that doesn't jump."""

from __future__ import annotations

import time

from wizard.words import t

WEIGHT = 0.2
"""Of a new estimate: that of a single step is a tenth off and more, as rows are of all lengths."""
STEADY_SECONDS, STEADY_PART = 60.0, 0.05
"""What is shown stays until it is off by more than a minute and by more than this part of what is left."""


class Ending:
    """The end as it is shown: estimates are smoothed, and only a change that somebody would plan by is shown."""

    def __init__(self) -> None:
        self.shown: float | None = None
        """Seconds of the clock; None before the first estimate."""
        self._smooth = 0.0

    def estimate(self, now: float, seconds_left: float) -> None:
        """Take a new estimate."""
        end = now + seconds_left
        if self.shown is None:
            self.shown = self._smooth = end
            return
        self._smooth += WEIGHT * (end - self._smooth)
        if abs(self._smooth - self.shown) > max(STEADY_SECONDS, STEADY_PART * (self._smooth - now)):
            self.shown = self._smooth

    def left(self, now: float) -> str:
        """How long it still takes, as coarsely as that is known: in whole minutes; empty before the first estimate."""
        if self.shown is None:
            return ""
        minutes = max(0, round((self.shown - now) / 60))
        if minutes == 0:
            return t("training.left.seconds")
        if minutes < 60:
            return t("training.left.minutes", minutes=minutes)
        return t("training.left.hours", hours=minutes // 60, minutes=minutes % 60)


def clock(seconds: float, beside: float) -> str:
    """The time of day where the user is, with the date where that isn't the day of `beside`: 21:34, 11-27 02:10."""
    at, other = time.localtime(seconds), time.localtime(beside)
    return time.strftime("%H:%M" if at[:3] == other[:3] else "%m-%d %H:%M", at)
