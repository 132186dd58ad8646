"""The sequences of one optimizer step as a tree of tokens: what they begin with in common is computed once.

The tree is written out depth-first as one sequence. Each token keeps the position that it has in its own sequences, and
a mask lets it see its ancestors (and itself) only, so every token's hidden state, and with them loss and gradients, are
those of the padded batch, to rounding. Tokens that nothing is predicted from, and duplicates, aren't there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lora_trainer.data.encode import EncodedSequence
from lora_trainer.engine.chains import common, read_ids

WORTH = 0.9
"""A tree is used where it has at most this share of the padded rectangles' tokens."""


@dataclass(frozen=True)
class TreeBatch:
    """A tree of T tokens in depth-first order, with N supervised continuations at U different tokens."""

    input_ids: Any
    """int64 (1, T)."""
    position_ids: Any
    """int64 (1, T): distance from the root, which is the position in each sequence that the token belongs to."""
    ends: Any
    """int64 (T,): index behind the last descendant, so token j is an ancestor of i where j <= i < ends[j]."""
    positions: Any
    """int64 (U,): tokens that something is predicted from."""
    target_index: Any
    """int64 (N,): which of the U positions each target continues."""
    targets: Any
    """int64 (N,): token ids."""
    weights: Any
    """float32 (N,): how many sequences go on like this."""
    sequences: int
    tokens: int

    def to(self, device: Any) -> TreeBatch:
        """The same on another device."""
        values = vars(self)
        return TreeBatch(**{name: v if isinstance(v, int) else v.to(device) for name, v in values.items()})


def tree_batches(sequences: Sequence[EncodedSequence], token_budget: int) -> list[TreeBatch]:
    """Trees of at most `token_budget` tokens each (a longer sequence is a tree of its own).

    Sequences in lexical order are in depth-first order: neighbours share the longest beginnings, so a cut between two
    of them repeats the least.
    """
    ordered = sorted(sequences, key=read_ids)
    groups: list[list[EncodedSequence]] = []
    size, before = 0, list[int]()
    for sequence in ordered:
        ids = read_ids(sequence)
        new = len(ids) - common(before, ids)
        if groups and size + new <= token_budget:
            groups[-1].append(sequence)
            size += new
        else:
            groups.append([sequence])
            size = len(ids)
        before = ids
    return [_tree(group) for group in groups]


def _tree(ordered: Sequence[EncodedSequence]) -> TreeBatch:
    import torch

    ids: list[int] = []
    position_ids: list[int] = []
    ends: list[int] = []
    path: list[int] = []
    """Indices of the tokens of the sequence that was written last."""
    before: list[int] = []
    wanted: dict[tuple[int, int], int] = {}
    for sequence in ordered:
        # nothing is predicted from a sequence's last token, so it isn't read
        own = read_ids(sequence)
        shared = common(before, own)
        for index in path[shared:]:
            ends[index] = len(ids)
        del path[shared:]
        for position, token in enumerate(own[shared:], start=shared):
            path.append(len(ids))
            ids.append(token)
            position_ids.append(position)
            ends.append(0)
        before = own
        for offset, target in enumerate(sequence.completion_ids, start=len(sequence.prompt_ids) - 1):
            key = (path[offset], target)
            wanted[key] = wanted.get(key, 0) + 1
    for index in path:
        ends[index] = len(ids)
    positions = sorted({index for index, _ in wanted})
    number = {index: i for i, index in enumerate(positions)}
    return TreeBatch(
        input_ids=torch.tensor([ids]),
        position_ids=torch.tensor([position_ids]),
        ends=torch.tensor(ends),
        positions=torch.tensor(positions),
        target_index=torch.tensor([number[index] for index, _ in wanted]),
        targets=torch.tensor([target for _, target in wanted]),
        weights=torch.tensor(list(wanted.values()), dtype=torch.float32),
        sequences=len(ordered),
        tokens=len(ids),
    )


def fork(sequences: Sequence[EncodedSequence], window: int = 0) -> list[EncodedSequence]:
    """Two of the sequences that begin alike and then part, behind more than `window` tokens where there are such two:
    what a layer's window leaves out is tried, too. The first such neighbours in lexical order; else none.

    One that only goes on where another ends, as a dialogue's next turn does, makes no branch.
    """
    found: list[EncodedSequence] = []
    for pair in pairwise(sorted(sequences, key=read_ids)):
        read = [read_ids(sequence) for sequence in pair]
        if 0 < (shared := common(*read)) < min(map(len, read)):
            if shared > window:
                return list(pair)
            found = found or list(pair)
    return found


def is_worth(trees: Sequence[TreeBatch], padded: Sequence[Any]) -> bool:
    """Whether the trees save enough tokens against the padded rectangles (B, T) to pay for their masks."""
    return sum(tree.tokens for tree in trees) <= WORTH * sum(batch.tokens for batch in padded)
