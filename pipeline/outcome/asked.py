"""What two models answered to the same questions: the plain values that comparison, card, page and history share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

Source = Literal["always", "character", "validation", "file", "typed"]
"""Why a question is asked: of every model, who the character is, a user's turn of the validation rows, a line of
questions.txt, or one that the user typed."""


@dataclass(frozen=True)
class Question:
    """A question, and under which system prompt it is asked; None is the model's own."""

    text: str
    source: Source
    system: str | None = None


@dataclass(frozen=True)
class Answer:
    """What a model said, without the token that ended it; `stopped` by itself, not by the length allowed."""

    text: str
    stopped: bool
    tokens: int
    """How many were generated."""


@dataclass(frozen=True)
class Side:
    """Who answered: the base model, a run of this name, or a model in Ollama that no record knows."""

    kind: Literal["base", "run", "ollama"]
    name: str
    run: int | None = None
    epochs: float | None = None
    """How long that run's model had learned: all of the run, or a point of it."""


@dataclass(frozen=True)
class Asked:
    """A question with both answers."""

    question: Question
    before: Answer | None
    """None where there was nobody to ask: the standing model and its base are gone."""
    after: Answer


@dataclass(frozen=True)
class Comparison:
    """The standing model (of a new name: the base model) beside the trained one, with the same seed and sampling."""

    before: Side | None
    after: Side
    asked: tuple[Asked, ...]
    seed: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The sampling parameters of both sides, by Ollama's names."""

    def to_record(self) -> dict[str, Any]:
        """As plain JSON values, for a run's record under `comparison`."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `to_record`."""
        before = record["before"]
        return cls(
            before=Side(**before) if before else None,
            after=Side(**record["after"]),
            asked=tuple(
                Asked(
                    question=Question(**one["question"]),
                    before=Answer(**one["before"]) if one["before"] else None,
                    after=Answer(**one["after"]),
                )
                for one in record["asked"]
            ),
            seed=record["seed"],
            parameters=record["parameters"],
        )
