"""How the sequences of one optimizer step become padded micro-batches, and what their loss is.

The loss of a step is the sum of its micro-batches' losses over the number of the step's supervised tokens, so how
the sequences are split changes nothing but rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from typing import Any, TypeVar

from lora_trainer.data.encode import EncodedSequence

_Sized = TypeVar("_Sized", bound=Sized)


@dataclass(frozen=True)
class MicroBatch:
    """Some sequences of one step, padded on the right to a rectangle (B sequences, T tokens)."""

    input_ids: Any
    """int64 (B, T). Padding stands behind everything that is read, so a causal model needs no mask for it."""
    rows: Any
    columns: Any
    """int64 (N,) each: the positions whose next token is supervised."""
    targets: Any
    """int64 (N,): those next tokens."""

    @property
    def sequences(self) -> int:
        """How many sequences there are, B."""
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

    A sequence longer than the budget is a micro-batch of its own. Sequences of similar length stand together, the
    longest first, so that memory runs out at once or never.
    """
    return [_pad(group, pad_id) for group in grouped_by_length(sequences, token_budget)]


def grouped_by_length(sequences: Iterable[_Sized], token_budget: int) -> list[list[_Sized]]:
    """The sequences of each rectangle, the longest first, in rectangles and within them."""
    groups: list[list[_Sized]] = []
    for sequence in sorted(sequences, key=len, reverse=True):
        if groups and (len(groups[-1]) + 1) * (len(groups[-1][0]) - 1) <= token_budget:
            groups[-1].append(sequence)
        else:
            groups.append([sequence])
    return groups


def _pad(group: list[EncodedSequence], pad_id: int) -> MicroBatch:
    import torch

    # nothing is predicted from a sequence's last token, so it isn't read
    length = len(group[0]) - 1
    input_ids = torch.full((len(group), length), pad_id, dtype=torch.int64)
    rows: list[int] = []
    columns: list[int] = []
    targets: list[int] = []
    for row, sequence in enumerate(group):
        ids = (sequence.prompt_ids + sequence.completion_ids)[:-1]
        input_ids[row, : len(ids)] = torch.tensor(ids)
        rows += [row] * len(sequence.completion_ids)
        columns += range(len(sequence.prompt_ids) - 1, len(ids))
        targets += sequence.completion_ids
    return MicroBatch(input_ids, torch.tensor(rows), torch.tensor(columns), torch.tensor(targets))


def negative_log_likelihood(model: Any, batch: MicroBatch) -> Any:
    """Sum over the supervised tokens of -log p(token), in nats, float32; a scalar tensor."""
    import torch

    from lora_trainer.engine.loss import weighted_nll

    each = torch.arange(len(batch.targets), device=batch.targets.device)
    once = torch.ones(len(each), device=each.device)
    return weighted_nll(model, {"input_ids": batch.input_ids}, batch.rows, batch.columns, each, batch.targets, once)


def shard_for_rank(items: Iterable[EncodedSequence], rank: int, processes: int) -> list[EncodedSequence]:
    """The part of one step's sequences that process `rank` computes; similar lengths go round."""
    return sorted(items, key=len, reverse=True)[rank::processes]
