"""How the sequences of one optimizer step become padded micro-batches, and what their loss is.

A sequence that begins another one is part of its row (see chains.py).

The loss of a step is the sum of its micro-batches' losses over the number of the step's supervised tokens, so how
the sequences are split changes nothing but rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

from lora_trainer.data.encode import EncodedSequence
from lora_trainer.engine.chains import Chain, chains, common, read_ids

_Sized = TypeVar("_Sized", bound=Sized)


@dataclass(frozen=True)
class MicroBatch:
    """Some sequences of one step in rows, padded on the right to a rectangle (B rows, T tokens).

    N supervised continuations at U different positions.
    """

    input_ids: Any
    """int64 (B, T). Padding stands behind everything that is read, so a causal model needs no mask for it."""
    rows: Any
    columns: Any
    """int64 (U,) each: the positions that something is predicted from."""
    target_index: Any
    """int64 (N,): which of the U positions each target continues."""
    targets: Any
    """int64 (N,): token ids."""
    weights: Any
    """float32 (N,): how many sequences go on like this."""

    @property
    def sequences(self) -> int:
        """How many rows there are, B: what is left to be halved where memory runs out."""
        return len(self.input_ids)

    @property
    def tokens(self) -> int:
        """Positions that are computed, B x T."""
        return int(self.input_ids.numel())

    def to(self, device: Any) -> MicroBatch:
        """The same on another device."""
        moved = {name: part.to(device) for name, part in vars(self).items()}
        return MicroBatch(**moved)


def micro_batches(sequences: Sequence[EncodedSequence], token_budget: int, pad_id: int) -> list[MicroBatch]:
    """Pad `sequences` into rectangles of at most `token_budget` tokens, padding included.

    A row longer than the budget is a micro-batch of its own. Rows of similar length stand together, the longest first,
    so that memory runs out at once or never.
    """
    return [_pad(group, pad_id) for group in grouped_by_length(chains(sequences), token_budget)]


def grouped_by_length(sequences: Iterable[_Sized], token_budget: int) -> list[list[_Sized]]:
    """The sequences of each rectangle, the longest first, in rectangles and within them."""
    groups: list[list[_Sized]] = []
    for sequence in sorted(sequences, key=len, reverse=True):
        if groups and (len(groups[-1]) + 1) * (len(groups[-1][0]) - 1) <= token_budget:
            groups[-1].append(sequence)
        else:
            groups.append([sequence])
    return groups


def _pad(group: list[Chain], pad_id: int) -> MicroBatch:
    import torch

    input_ids = torch.full((len(group), len(group[0].ids)), pad_id, dtype=torch.int64)
    positions: dict[tuple[int, int], int] = {}
    target_index: list[int] = []
    targets: list[int] = []
    weights: list[int] = []
    for row, chain in enumerate(group):
        input_ids[row, : len(chain.ids)] = torch.tensor(chain.ids)
        for (column, target), times in sorted(chain.wanted.items()):
            target_index.append(positions.setdefault((row, column), len(positions)))
            targets.append(target)
            weights.append(times)
    rows, columns = zip(*positions, strict=True)
    return MicroBatch(
        input_ids,
        torch.tensor(rows),
        torch.tensor(columns),
        torch.tensor(target_index),
        torch.tensor(targets),
        torch.tensor(weights, dtype=torch.float32),
    )


def negative_log_likelihood(model: Any, batch: MicroBatch) -> Any:
    """Sum over the supervised tokens of -log p(token), in nats, float32; a scalar tensor."""
    from lora_trainer.engine.loss import weighted_nll

    inputs = {"input_ids": batch.input_ids}
    return weighted_nll(model, inputs, batch.rows, batch.columns, batch.target_index, batch.targets, batch.weights)


def shard_for_rank(items: Iterable[EncodedSequence], rank: int, processes: int) -> list[EncodedSequence]:
    """The part of one step's sequences that process `rank` computes: neighbours in lexical order, so that what they
    begin with in common is computed by one process, and of all tokens that aren't shared so the same part for each.
    """
    ordered = sorted(items, key=read_ids)
    mine: list[EncodedSequence] = []
    done = 0
    new = [len(ids) - common(before, ids) for before, ids in pairwise([[], *map(read_ids, ordered)])]
    total = sum(new)
    for sequence, tokens in zip(ordered, new, strict=True):
        # a sequence belongs to the process in whose part its middle is
        if min((2 * done + tokens) * processes // (2 * total), processes - 1) == rank:
            mine.append(sequence)
        done += tokens
    return mine
