"""Several processes under `accelerate launch`: the first one does everything, the others join in the training.

Before its training the first process announces the work; the others wait for that, and for nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_trainer.chat_format import ChatFormat
from lora_trainer.dataset import Dialogue
from lora_trainer.plan import TrainPlan

if TYPE_CHECKING:
    from lora_trainer.base_models import BaseModel


_announced: list[object] = []
"""What was announced by this process: it's said once."""


@dataclass(frozen=True)
class Work:
    """What a process needs to train along."""

    base: BaseModel
    chat_format: ChatFormat
    train: tuple[Dialogue, ...]
    val: tuple[Dialogue, ...]
    plan: TrainPlan
    folder: Path
    initial_adapter: Path | None


def is_first() -> bool:
    """Whether this process is the one that speaks, asks, writes and publishes."""
    return int(os.environ.get("RANK", "0")) == 0


def are_several() -> bool:
    """Whether others train along."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def leading() -> Iterator[None]:
    """What the first process does; however it ends, the others are not left waiting."""
    try:
        yield
    finally:
        if not _announced:
            announce(None)
        _leave()


def announce(work: Work | None) -> None:
    """Tell the other processes what to train, or (None) that there is nothing to do for them."""
    if are_several():
        _announced.append(work)
        _broadcast(work)


def follow(stop: Callable[[], bool]) -> None:
    """Train along in a process that isn't the first."""
    try:
        _train_along(_broadcast(None), stop)
    finally:
        _leave()


def _train_along(work: Work | None, stop: Callable[[], bool]) -> None:
    if work is None:
        return
    from lora_trainer.base_models import load_tokenizer
    from lora_trainer.encode import encode
    from lora_trainer.train import train

    tokenizer = load_tokenizer(work.base)
    rows, val = (encode(d, work.chat_format, tokenizer, work.plan.max_length)[0] for d in (work.train, work.val))
    initial = work.initial_adapter
    train(work.base, tokenizer, rows, val, work.plan, work.folder, stop=stop, resume=True, initial_adapter=initial)


def _broadcast(work: Work | None) -> Work | None:
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    from lora_trainer.hardware import detect

    PartialState(cpu=detect().device == "cpu")
    box = [work]
    broadcast_object_list(box, from_process=0)
    return box[0]


def _leave() -> None:
    """Part from the others in good order: torch aborts a process that ends while it is still connected."""
    if are_several():
        from accelerate import PartialState

        PartialState().destroy_process_group()
