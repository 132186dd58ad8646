"""The runs of one model as the history's screens share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.outcome.past import Past, past_of
from pipeline.run.history import Run
from wizard.history.table import PLAIN_SIGNS, Signs
from wizard.screen.screen import Screen


@dataclass(frozen=True)
class Listed:
    """The runs of one model as they are now."""

    name: str
    runs: tuple[Run, ...]
    pasts: tuple[Past, ...]
    """The same as they are told."""


def look_at(name: str, runs: Sequence[Run], stands: int | None) -> Listed:
    """The runs of a model, of which number `stands` is the one in Ollama."""
    return Listed(name, tuple(runs), tuple(past_of(runs, stands)))


def signs_of(screen: Screen) -> Signs:
    """What the console can show."""
    return Signs() if screen.has_signs else PLAIN_SIGNS
