"""The sequences of one optimizer step as a tree of tokens: what they begin with in common is computed once.

The tree is written out depth-first as one sequence. Each token keeps the position that it has in its own sequences, and
a mask lets it see its ancestors (and itself) only, so every token's hidden state, and with them loss and gradients, are
those of the padded batch, to rounding. Tokens that nothing is predicted from, and duplicates, aren't there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lora_trainer.batching import micro_batches, negative_log_likelihood
from lora_trainer.encode import EncodedSequence
from lora_trainer.sharding import gradients as gradients_of

KNOWN_LAYERS = {"full_attention", "sliding_attention"}
"""Kinds of layers that are told everything about a sequence by positions and mask."""
WORTH = 0.9
"""A tree is used where it has at most this share of the padded rectangles' tokens."""


@dataclass(frozen=True)
class TreeBatch:
    """A tree of T tokens in depth-first order, with N supervised continuations at U different tokens."""

    input_ids: Any
    """int64 (1, T)."""
    positions: Any
    """int64 (1, T): distance from the root, which is the position in each sequence that the token belongs to."""
    ends: Any
    """int64 (T,): index behind the last descendant, so token j is an ancestor of i where j <= i < ends[j]."""
    places: Any
    """int64 (U,): tokens that something is predicted from."""
    owners: Any
    """int64 (N,): which of the U places each target continues."""
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
    ordered = sorted(sequences, key=lambda sequence: sequence.prompt_ids + sequence.answer_ids)
    groups: list[list[EncodedSequence]] = []
    size, before = 0, list[int]()
    for sequence in ordered:
        ids = (sequence.prompt_ids + sequence.answer_ids)[:-1]
        new = len(ids) - _common(before, ids)
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
    positions: list[int] = []
    ends: list[int] = []
    path: list[int] = []
    """Indices of the tokens of the sequence that was written last."""
    before: list[int] = []
    wanted: dict[tuple[int, int], int] = {}
    for sequence in ordered:
        # nothing is predicted from a sequence's last token, so it isn't read
        own = (sequence.prompt_ids + sequence.answer_ids)[:-1]
        shared = _common(before, own)
        for index in path[shared:]:
            ends[index] = len(ids)
        del path[shared:]
        for position, token in enumerate(own[shared:], start=shared):
            path.append(len(ids))
            ids.append(token)
            positions.append(position)
            ends.append(0)
        before = own
        for offset, target in enumerate(sequence.answer_ids, start=len(sequence.prompt_ids) - 1):
            key = (path[offset], target)
            wanted[key] = wanted.get(key, 0) + 1
    for index in path:
        ends[index] = len(ids)
    places = sorted({place for place, _ in wanted})
    number = {place: i for i, place in enumerate(places)}
    return TreeBatch(
        input_ids=torch.tensor([ids]),
        positions=torch.tensor([positions]),
        ends=torch.tensor(ends),
        places=torch.tensor(places),
        owners=torch.tensor([number[place] for place, _ in wanted]),
        targets=torch.tensor([target for _, target in wanted]),
        weights=torch.tensor(list(wanted.values()), dtype=torch.float32),
        sequences=len(ordered),
        tokens=len(ids),
    )


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids two lists begin with in common."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def is_worth(trees: Sequence[TreeBatch], padded: Sequence[Any]) -> bool:
    """Whether the trees save enough tokens against the padded rectangles (B, T) to pay for their masks."""
    return sum(tree.tokens for tree in trees) <= WORTH * sum(batch.input_ids.numel() for batch in padded)


def can_be_told(config: Any) -> bool:
    """Whether every kind of layer in a model's configuration learns all about a sequence from positions and a mask."""
    return set(getattr(config, "layer_types", None) or KNOWN_LAYERS) <= KNOWN_LAYERS


def tree_negative_log_likelihood(model: Any, tree: TreeBatch) -> Any:
    """Sum over all sequences' supervised tokens of -log p(token), in nats, float32; a scalar tensor."""
    from lora_trainer.loss import weighted_nll

    inputs = {
        "input_ids": tree.input_ids,
        "position_ids": tree.positions,
        "attention_mask": _masks(getattr(model, "module", model), tree),
    }
    rows = tree.places.new_zeros(len(tree.places))
    return weighted_nll(model, inputs, rows, tree.places, tree.owners, tree.targets, tree.weights)


def agrees_with_padding(model: Any, sequences: Sequence[EncodedSequence], pad_id: int, device: Any) -> bool | None:
    """Whether loss and gradients of `sequences` as a tree are those of the padded batch, on this very model.

    None where memory doesn't hold them.

    An adapter's gradients go through every layer, so a layer that sees more than position and mask tell it shows.
    """
    import torch

    from lora_trainer.hardware import is_out_of_memory

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    training = model.training
    # without dropout; but only in training are activations recomputed, where memory asks for it
    model.train(not getattr(model.config.get_text_config(), "attention_dropout", 0.0))
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    losses, gradients = [], []
    ways: list[tuple[Any, Any]] = [
        (negative_log_likelihood, micro_batches(sequences, sum(map(len, sequences)) * len(sequences), pad_id)),
        (tree_negative_log_likelihood, tree_batches(sequences, sum(map(len, sequences)))),
    ]
    try:
        for loss_of, batches in ways:
            loss = sum(loss_of(model, batch.to(device)) for batch in batches)
            found = gradients_of(loss, parameters)
            losses.append(loss.item())
            gradients.append(torch.cat([g.flatten().float() for g in found if g is not None]))
    except Exception as error:  # a model that takes no such mask says so in its own way
        return None if is_out_of_memory(error) else False
    finally:
        model.train(training)
    tolerance = 1e-3 if model.dtype == torch.float32 else 0.1
    apart = (gradients[0] - gradients[1]).norm() <= tolerance * gradients[0].norm()
    return bool(apart) and abs(losses[0] - losses[1]) <= tolerance * abs(losses[0])


def _masks(model: Any, tree: TreeBatch) -> Any:
    """The attention masks, additive (1, 1, T, T), by kind of layer for models that have several."""
    import torch

    from lora_trainer.tree_attention import cut_into_blocks

    config = model.config.get_text_config()
    index = torch.arange(tree.tokens, device=tree.ends.device)
    sees = (index[None, :] <= index[:, None]) & (index[:, None] < tree.ends[None, :])
    window = getattr(config, "sliding_window", None)
    near = sees
    if window:
        position = tree.positions[0]
        near = sees & (position[:, None] - position[None, :] < window)

    def additive(allowed: Any) -> Any:
        dtype = model.dtype if model.dtype.is_floating_point else torch.float32
        # where rows of a mask don't begin at multiples of 16, CUDA's kernel has it copied, and kept, in every layer
        width = tree.tokens if allowed.device.type == "cpu" else -(-tree.tokens // 16) * 16
        mask = torch.zeros(tree.tokens, width, dtype=dtype, device=allowed.device)[:, : tree.tokens]
        return cut_into_blocks(mask.masked_fill_(~allowed, torch.finfo(dtype).min)[None, None], tree.ends)

    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds:
        masks = {"full_attention": sees, "sliding_attention": near}
        return {kind: additive(masks[kind]) for kind in kinds}
    return additive(near)
