"""When a fact is a warning, and which of several points is the one to take."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pipeline.outcome.report_card.counted import Counted
from pipeline.outcome.report_card.course import Course
from pipeline.outcome.report_card.taught import Taught

WARNINGS = ("letters", "repeats", "endless", "copied", "forgets")
"""The keys of the lines that speak against a point."""
COPIED, ASTRAY, FOREIGN, FORGOTTEN = 0.2, 0.1, 0.1, 0.1
"""More than this part of the answers copied whole, repeating or endless, with foreign letters; a loss on general text
that is higher by more than this part."""
LEAST = 2
"""One answer is chance: a warning about answers takes so many at least."""


def is_too_many(count: int, of: int, above: float) -> bool:
    """Whether more than this part of the answers, and not a single one of a few, are so."""
    return count >= LEAST and count > above * of


def warnings_of(course: Course, after: Counted | None, taught: Taught) -> frozenset[str]:
    """Which of WARNINGS stand; without answers only that on general text can."""
    found = {"forgets": course.forgotten is not None and course.forgotten > FORGOTTEN}
    if after is not None:
        # answers that repeat themselves, or each other, as the taught ones do are as they should be
        astray = is_too_many(after.astray, after.of, ASTRAY + taught.repeating)
        found |= {
            "letters": is_too_many(after.foreign, after.of, FOREIGN),
            "repeats": astray and after.repeating > 0,
            "endless": astray and after.endless > 0,
            "copied": is_too_many(after.whole, after.untaught, COPIED + taught.recurring),
        }
    return frozenset(key for key in WARNINGS if found.get(key))


def preselected(points: Sequence[Collection[str]]) -> int:
    """The index of the point to take, of the keys of each one's lines that warn, shortest training first.

    The last one; where one of WARNINGS stands there, the latest without any; where there is none, the last.
    """
    free = [index for index, keys in enumerate(points) if not set(keys) & set(WARNINGS)]
    return free[-1] if free else len(points) - 1
