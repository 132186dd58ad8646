"""Sequences that begin another one are computed with it: the turns of one dialogue, where each answer stands in the
history of the next, are one row with all their answers learnt.

A causal model computes a token from what stands before it, so a row that goes on behind a sequence gives every one of
that sequence's tokens the same hidden state: exact for each causal model, stateful ones too, and without a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lora_trainer.data.encode import EncodedSequence


@dataclass
class Chain:
    """A row that is read, and what is learnt in it."""

    ids: list[int]
    """Without the last token of the longest sequence, from which nothing is predicted."""
    wanted: dict[tuple[int, int], int] = field(default_factory=dict)
    """(place in the row, token that is to follow) -> how many sequences go on like this."""

    def __len__(self) -> int:
        """Tokens, with the one that isn't read: the longest sequence's."""
        return len(self.ids) + 1

    def learn(self, sequence: EncodedSequence) -> None:
        """Learn what a sequence that the row begins with learns."""
        for place, target in enumerate(sequence.completion_ids, start=len(sequence.prompt_ids) - 1):
            key = (place, target)
            self.wanted[key] = self.wanted.get(key, 0) + 1


def read_ids(sequence: EncodedSequence) -> list[int]:
    """A sequence's tokens but the last one, from which nothing is predicted."""
    return (sequence.prompt_ids + sequence.completion_ids)[:-1]


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids two lists begin with in common."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def chains(sequences: Sequence[EncodedSequence]) -> list[Chain]:
    """The rows of some sequences, in the order of each row's longest one among them."""
    read = [read_ids(sequence) for sequence in sequences]
    found: list[tuple[int, Chain]] = []
    # what begins another one stands right before it, or before others that it begins as well
    for number in sorted(range(len(read)), key=read.__getitem__, reverse=True):
        if not found or found[-1][1].ids[: len(read[number])] != read[number]:
            found.append((number, Chain(read[number])))
        found[-1][1].learn(sequences[number])
    return [chain for _, chain in sorted(found, key=lambda entry: entry[0])]
