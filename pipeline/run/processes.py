"""Several processes under `accelerate launch`: the first one does everything, the others join in the training.

They may be on other machines, of which nothing is asked but this program and the base model: dialogues, plan and
checkpoints come from the first process, and what the others write is thrown away.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from lora_trainer.errors import BaseModelError, ResourceError
from pipeline.temporary import own_folder

if TYPE_CHECKING:
    from lora_trainer.chat_format import ChatFormat
    from lora_trainer.data.dialogues import Dialogues
    from lora_trainer.models.source import BaseModel
    from lora_trainer.plan import TrainPlan


PATIENCE = timedelta(days=1)
"""How long the others wait for a training, while the first process asks, checks and downloads."""
_in_training: list[object] = []
"""What all processes work at now."""


@dataclass(frozen=True)
class Work:
    """What a process needs to train along."""

    base: BaseModel
    chat_format: ChatFormat
    train: Dialogues
    val: Dialogues
    plan: TrainPlan


def is_first() -> bool:
    """Whether this process is the one that speaks, asks, writes and publishes."""
    return int(os.environ.get("RANK", "0")) == 0


def are_several() -> bool:
    """Whether others train along."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def leading() -> Iterator[None]:
    """What the first process does; however it ends, the others are not left waiting."""
    _connect()
    try:
        yield
    finally:
        # what ended a training has ended it in all of them
        if not _in_training:
            _broadcast(None)
        _leave()


@contextmanager
def together(work: Work) -> Iterator[None]:
    """Within, the other processes train along; raises ResourceError where one of them ends on its own."""
    _broadcast(work)
    _in_training.append(work)
    try:
        yield
    except RuntimeError as error:
        from torch.distributed import DistError

        if isinstance(error, DistError) or "gloo/transport" in str(error):
            raise ResourceError("error.processes.lost", reason=str(error).partition(". ")[0]) from error
        raise
    _in_training.clear()


def follow(stop: Callable[[], bool]) -> None:
    """Train along, as often as there is something to train, in a process that isn't the first."""
    _connect()
    try:
        while (work := _broadcast(None)) is not None:
            _train_along(work, stop)
    finally:
        _leave()


def _train_along(work: Work, stop: Callable[[], bool]) -> None:
    from pathlib import Path

    from lora_trainer.data.encode import encode
    from lora_trainer.models.load import load_tokenizer
    from lora_trainer.train import train

    base = base_model_here(work.base)
    tokenizer = load_tokenizer(base)
    rows, val = (encode(d, work.chat_format, tokenizer, work.plan.max_length)[0] for d in (work.train, work.val))
    for dialogues in (work.train, work.val):
        dialogues.set_aside()
    with own_folder("training") as folder:
        train(base, tokenizer, rows, val, work.plan, Path(folder), stop=stop, resume=True)


def base_model_here(base: BaseModel) -> BaseModel:
    """The first machine's base model as this machine has it; raises BaseModelError where that is another one."""
    from lora_trainer.models.recorded import resolve_recorded_base

    stored = base.path if base.path.exists() else None
    try:
        record = {"source": base.source, "revision": base.revision}
        return resolve_recorded_base(record, stored_file=lambda _, __: stored)
    except BaseModelError as error:
        if error.key in ("error.base.gone", "error.base.changed"):
            raise BaseModelError("error.processes.base", source=base.source) from error
        raise


def _connect() -> None:
    if are_several():
        from accelerate import PartialState

        from lora_trainer.engine.hardware import detect

        PartialState(cpu=detect().device == "cpu", timeout=PATIENCE)


def _broadcast(work: Work | None) -> Work | None:
    """What the first process gives, in all of them."""
    box = [work]
    if are_several():
        from accelerate.utils import broadcast_object_list

        broadcast_object_list(box, from_process=0)
    return box[0]


def _leave() -> None:
    """Part from the others in good order: torch aborts a process that ends while it is still connected."""
    if are_several():
        from accelerate import PartialState

        PartialState().destroy_process_group()
