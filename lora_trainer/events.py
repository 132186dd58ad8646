"""What the engine, the exporter and the pipeline tell the outside while they work.

Plain values: whoever listens may draw a progress bar, write a log or ignore them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Event:
    """The base of all events."""


@dataclass(frozen=True)
class StageStarted(Event):
    """A stage of the run begins: preflight, train, export, prove, publish; `name` is the model's."""

    stage: str
    name: str = ""


@dataclass(frozen=True)
class StageDone(Event):
    """A stage has ended; `reused` when the journal says that it was done before."""

    stage: str
    seconds: float
    reused: bool = False


@dataclass(frozen=True)
class Check(Event):
    """One line of the preflight checklist; `name` is the text key `check.<name>`."""

    name: str
    state: Literal["running", "ok", "skipped", "warning", "failed"]
    key: str | None = None
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Doing(Event):
    """What is worked at from now on, where nothing else tells it; `what` is the text key `doing.<what>`."""

    what: str


@dataclass(frozen=True)
class Note(Event):
    """A line for the user that stops nothing."""

    key: str
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress(Event):
    """`done` of `total` units (bytes, steps, tensors) of `task` (text key `progress.<task>`); total 0 is unknown."""

    task: str
    done: int
    total: int


@dataclass(frozen=True)
class TrainingStarted(Event):
    """Training begins (or goes on) at `start_step` of `total_steps`."""

    total_steps: int
    start_step: int
    steps_per_epoch: int
    dialogues: int
    sequences: int
    supervised_tokens: int
    device: str
    dtype: str
    trainable_parameters: int
    device_kind: str = "cpu"
    """cpu, cuda or mps; `device` is its name."""
    val_dialogues: int = 0
    losses: tuple[float, ...] = ()
    """Those of the steps before `start_step`, where the run goes on."""
    val_losses: tuple[tuple[float, float], ...] = ()
    """(epoch, validation loss) up to there."""
    samples: tuple[Sampled, ...] = ()
    """What was answered up to there, oldest first."""


@dataclass(frozen=True)
class StepBegun(Event):
    """Optimizer step `step` (counted from 1) is being computed from now on."""

    step: int


@dataclass(frozen=True)
class StepDone(Event):
    """One optimizer step: mean loss per supervised token (nats), tokens per second, seconds left, bytes of memory."""

    step: int
    total_steps: int
    epoch: float
    loss: float
    learning_rate: float
    tokens_per_second: float
    seconds_left: float
    """With the evaluations that are to come."""
    memory: int = 0
    """Bytes of the device's memory that this process holds, of the machine's where it trains on the CPU."""


@dataclass(frozen=True)
class EvaluationBegun(Event):
    """The validation loss after `step` steps is being taken."""

    step: int


@dataclass(frozen=True)
class Evaluated(Event):
    """Mean loss per supervised token over the validation dialogues; `best` so far or not."""

    step: int
    epoch: float
    loss: float
    best: bool


@dataclass(frozen=True)
class Sampled(Event):
    """What the model answers now to a fixed question; `stopped` by itself, not cut."""

    step: int
    epoch: float
    question: str
    answer: str
    stopped: bool


@dataclass(frozen=True)
class Saving(Event):
    """The checkpoint after `step` steps is being written."""

    step: int


@dataclass(frozen=True)
class CheckpointSaved(Event):
    """A checkpoint from which the run can go on."""

    step: int
    path: str


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""
