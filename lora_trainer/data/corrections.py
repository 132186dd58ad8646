"""Corrections: answers that somebody put right in a conversation, learnt beside the rows of the training file.

They are training rows in any case: none is split off for validation, and one that is made anew takes the place of the
one before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from lora_trainer.data.dataset import Dataset, fingerprint
from lora_trainer.data.dialogues import Dialogue, Dialogues
from lora_trainer.data.findings import Finding
from lora_trainer.data.reading import Reader


def read_corrections(path: Path, system: str | None) -> tuple[list[Dialogue], list[Finding]]:
    """The rows of a file of corrections, under the run's system prompt, and their faults; none where there is no file.

    Raises DataError where it can't be read.
    """
    if not path.is_file():
        return [], []
    reader = Reader(system=system)
    rows = reader.with_system(reader.read(path), path, no_system=False)
    return rows, [finding for finding in reader.findings if finding.kind == "fault"]


def with_corrections(data: Dataset, rows: Sequence[Dialogue], faults: Iterable[Finding] = ()) -> Dataset:
    """The data set with corrections behind its training rows; older ones of the same answers go."""
    new = {_answered(row) for row in rows}
    plain = data.train[: len(data.train) - data.corrections]
    older = [row for row in data.train[len(plain) :] if _answered(row) not in new]
    train = (*plain, *older, *rows)
    return replace(
        data,
        train=Dialogues(train),
        findings=(*data.findings, *faults),
        fingerprint=fingerprint(train, data.val, data.system),
        corrections=len(older) + len(rows),
    )


def _answered(dialogue: Dialogue) -> tuple[str, ...]:
    """What an answer is the answer to: all before it, but for the system prompt, which is the run's."""
    talk = [message for message in dialogue.messages[:-1] if message["role"] != "system"]
    return tuple(part for message in talk for part in (message["role"], message["content"]))
