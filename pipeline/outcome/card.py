"""The report card of a run as plain values: its lines, its verdict, and the one next step.

How each is computed is told in docs/report-card.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

Mark = Literal["good", "plain", "warning"]


@dataclass(frozen=True)
class Line:
    """One fact: the text key is `card.<key>`, with `values` in it."""

    key: str
    mark: Mark
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NextStep:
    """What mends it, or goes on: the text key is `card.next.<key>`; `flags` are those of the command that does it."""

    key: str
    values: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Card:
    """What came out of a training."""

    verdict: str
    """The text key is `card.verdict.<verdict>`."""
    lines: tuple[Line, ...]
    next_step: NextStep
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Every number that the lines were made of, by its name in docs/report-card.md."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """The keys of the lines that warn."""
        return tuple(line.key for line in self.lines if line.mark == "warning")

    def to_record(self) -> dict[str, Any]:
        """As plain JSON values, for a run's record under `card`."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `to_record`."""
        step = record["next_step"]
        return cls(
            verdict=record["verdict"],
            lines=tuple(Line(**line) for line in record["lines"]),
            next_step=NextStep(step["key"], step["values"], tuple(step["flags"])),
            facts=record["facts"],
        )


def habit_count(record: Mapping[str, Any]) -> tuple[int, int] | None:
    """In how many of how many answers a run's card saw the data's commonest habit; None where it has none."""
    return _habit_count(record, "after", "asked")


def habit_count_before(record: Mapping[str, Any]) -> tuple[int, int] | None:
    """The same of the model that it was compared with."""
    return _habit_count(record, "before", "asked_before")


def _habit_count(record: Mapping[str, Any], name: str, of: str) -> tuple[int, int] | None:
    facts = (record.get("card") or {}).get("facts") or {}
    habits, asked = facts.get("habits") or [], facts.get(of)
    count = habits[0].get(name) if habits else None
    return (int(count), int(asked)) if count is not None and asked else None
