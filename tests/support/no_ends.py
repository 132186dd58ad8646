"""A training whose answers lack their end-of-turn token, as a broken chat format's do: its model doesn't stop.

`python -m tests.support.watchers "tests.support.no_ends ." FLAGS...` is train_to_ollama.py so changed.
"""

from __future__ import annotations

from typing import Any

from lora_trainer.data.encode import EncodedDialogue, EncodedDialogues, EncodedSequence
from lora_trainer.events import Listener, ignore


def watcher(_: str) -> Listener:
    """Leave out the last token of every answer from now on, in this process."""
    whole: Any = EncodedDialogues.__getitem__

    def without_ends(self: EncodedDialogues, index: Any) -> Any:
        row = whole(self, index)
        return row if isinstance(index, slice) else EncodedDialogue(tuple(map(_without_end, row.sequences)))

    EncodedDialogues.__getitem__ = without_ends  # type: ignore[method-assign]
    return ignore


def _without_end(sequence: EncodedSequence) -> EncodedSequence:
    answer = sequence.completion_ids[:-1]
    # an answer that is its end alone is a prompt that waits for one
    return EncodedSequence(sequence.prompt_ids, answer) if answer else sequence
