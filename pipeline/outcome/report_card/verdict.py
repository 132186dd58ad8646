"""The one word about a run, from the facts of its card."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from pipeline.outcome.asked import Comparison
from pipeline.outcome.report_card.counted import Counted
from pipeline.outcome.report_card.counting.chance import has_fallen, is_below
from pipeline.outcome.report_card.course import Course
from pipeline.outcome.report_card.taught import Taught
from pipeline.strategies import FEW_DIALOGUES

Verdict = Literal["learned", "nearly", "too_little", "overfitted", "does_not_stop", "worse", "unseen"]
GOOD: tuple[Verdict, ...] = ("learned", "nearly")
"""What may go into Ollama without a second thought."""

MOST_ENDLESS = 0.5
"""Where more of the answers than this don't end, nothing else counts."""
TAKEN_ON = 0.9
"""A habit that holds in this part of what it holds in the data is taken on."""
UNCHANGED, UNCHANGED_ANSWERS = 0.8, 0.5
"""An answer alike to this part to the base model's (difflib's ratio: 2 x matching characters / all) is unchanged; where
this part of the answers is, nothing was learnt."""
BARELY = 0.5
"""A training shorter than this part of the least epochs that are advised is short, whatever its losses."""
MOSTLY_COPIED = 0.5
"""With more runs copied than this, training answers that are known by heart are too much of a good thing."""
FAR_UP = 0.1
"""A validation loss that is up by this part from its lowest; alone it says nothing (see docs/report-card.md)."""


@dataclass(frozen=True)
class Facts:
    """What a verdict is made of. `before` and `after` are None where nobody was asked."""

    course: Course
    taught: Taught
    comparison: Comparison | None
    before: Counted | None
    after: Counted | None
    warnings: Collection[str]

    @property
    def against_base(self) -> bool:
        """Whether it is the base model that answered before."""
        side = self.comparison.before if self.comparison else None
        return side is not None and side.kind == "base"

    @property
    def lacks_habit(self) -> bool:
        """Whether the first habit holds in fewer answers than in the data, beyond chance."""
        if self.after is None or not self.taught.habits:
            return False
        return is_below(self.after.habits[0], self.after.of, TAKEN_ON * self.taught.habits[0].share)

    @property
    def has_no_habit(self) -> bool:
        """Whether it lacks the first habit in half of the answers that should have it, or more."""
        if self.after is None or not self.lacks_habit:
            return False
        return self.after.habits[0] <= 0.5 * self.taught.habits[0].share * self.after.of

    @property
    def has_lost_habit(self) -> bool:
        """Whether an earlier run's model has the first habit in more answers, beyond chance."""
        before, after = self.before, self.after
        if before is None or after is None or self.against_base or not self.taught.habits:
            return False
        return has_fallen(before.habits[0], before.of, after.habits[0], after.of)

    @property
    def is_unchanged(self) -> bool:
        """Whether half of the answers or more are the base model's."""
        if self.comparison is None or not self.against_base:
            return False
        pairs = [(one.before.text, one.after.text) for one in self.comparison.asked if one.before is not None]
        alike = sum(SequenceMatcher(None, *pair, autojunk=False).ratio() >= UNCHANGED for pair in pairs)
        return bool(pairs) and alike >= UNCHANGED_ANSWERS * len(pairs)

    @property
    def is_endless_as_before(self) -> bool:
        """Whether it has learnt nothing yet, and its answers are no more endless than they were: so is a small base
        model that likes to talk."""
        before, after = self.before, self.after
        if before is None or after is None or not (self.has_no_habit or self.is_unchanged or self.course.hardly_fell):
            return False
        return not has_fallen(before.of - before.endless, before.of, after.of - after.endless, after.of)

    @property
    def has_few_rows(self) -> bool:
        """Whether the data are so few that the card is a hint."""
        return self.course.rows < FEW_DIALOGUES


def verdict_of(facts: Facts) -> Verdict:
    """The first that holds; its reasons stand in docs/report-card.md."""
    course, after = facts.course, facts.after
    if after is None:
        return _without_answers(facts)
    if after.endless > MOST_ENDLESS * after.of and "endless" in facts.warnings:
        return "too_little" if facts.is_endless_as_before else "does_not_stop"
    knows_by_heart = bool({"copied", "forgets"} & set(facts.warnings))
    if facts.has_no_habit and not knows_by_heart:
        return "worse" if facts.has_lost_habit else "too_little"
    if facts.is_unchanged:
        return "too_little"
    if set(facts.warnings) - {"endless"}:
        return "overfitted"
    if "endless" in facts.warnings:
        return "does_not_stop"
    mostly = MOSTLY_COPIED + facts.taught.recurring
    if course.by_heart and after.runs > mostly * max(1, after.untaught):
        return "overfitted"
    if not facts.taught.habits and _is_short(course):
        return "too_little"
    return "nearly" if facts.lacks_habit else "learned"


def _without_answers(facts: Facts) -> Verdict:
    course = facts.course
    if facts.warnings:
        return "overfitted"
    far = course.lowest is not None and course.validation[-1][1] > (1 + FAR_UP) * course.lowest[1]
    if course.by_heart and (far or not course.validation) and course.epochs > course.advised[1]:
        return "overfitted"
    return "too_little" if _is_short(course) else "unseen"


def _is_short(course: Course) -> bool:
    """A training loss that hardly fell, or few epochs at whose end there was more to learn."""
    few = course.afresh and course.epochs < BARELY * course.advised[0] and not course.by_heart
    return course.hardly_fell or (few and course.trend in ("falling", None))
