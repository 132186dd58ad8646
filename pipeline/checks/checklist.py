"""One line of the preflight's checklist as it is made, and what all of them have found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lora_trainer.chat_format import ChatFormat
from lora_trainer.errors import UserError
from lora_trainer.events import Check, Listener
from ollama_export.proof import Proof

if TYPE_CHECKING:
    from lora_trainer.data.dataset import Dataset
    from lora_trainer.data.encode import EncodedDialogues
    from lora_trainer.models.source import BaseModel
    from pipeline.serving import Serving


@dataclass(frozen=True)
class Prepared:
    """What the checks found and the stages need."""

    dataset: Dataset
    base: BaseModel
    tokenizer: Any
    chat_format: ChatFormat
    train_rows: EncodedDialogues
    val_rows: EncodedDialogues
    proofs: tuple[Proof, ...]
    serving: Serving
    """The job's, with what base model and dialogues add to it."""


class Skip(Exception):
    """A check that can't be made here; the text key says why."""


@contextmanager
def checking(listener: Listener, name: str) -> Iterator[dict[str, Any]]:
    """Tell a check's beginning and end; the facts put into the yielded dict go along."""
    facts: dict[str, Any] = {}
    listener(Check(name, "running"))
    try:
        yield facts
    except Skip as skip:
        listener(Check(name, "skipped", str(skip), facts))
    except UserError as error:
        listener(Check(name, "failed", error.key, error.values))
        raise
    else:
        listener(Check(name, "ok", f"check.{name}.ok" if facts else None, facts))
