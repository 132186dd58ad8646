"""Attention within a prefix tree on a CPU, block by block: what no branch may see isn't computed.

A mask of T x T lets most pairs of tokens be computed for nothing. Here each block of neighbouring branches attends to
itself and to the path that leads to it from the root.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

_GROUP = 48
"""Queries below which a block costs more by its call than by its arithmetic."""
_WORTH = 0.7
"""Blocks are used where they have at most this share of the pairs."""


class Block(NamedTuple):
    """Some neighbouring branches of a tree of T tokens."""

    own: range
    """Its pieces of the tree."""
    keys: list[int]
    """Pieces of the path to it, then its own."""
    mask: Any
    """Additive (1, 1, own tokens, tokens of `keys`); None for causal attention."""


class Cut(NamedTuple):
    """A tree cut into pieces, and the blocks that are made of them."""

    sizes: list[int]
    blocks: list[Block]


def cut_into_blocks(mask: Any, ends: Any) -> Any:
    """Mark an additive mask (1, 1, T, T) of a tree, whose `ends` (T,) are TreeBatch's, as one to be cut; returns it.

    The mark is an attribute, so that it is there too when activations are recomputed.
    """
    if mask.device.type != "cpu":
        return mask
    stops = ends.tolist()
    total = len(stops)
    starts = [0]
    for i in range(1, total):
        # behind a leaf, or a long chain, half of whose pairs are of a token and a later one
        if i - starts[-1] >= (_GROUP if stops[i - 1] == i else 3 * _GROUP):
            starts.append(i)
    # what any token of a block sees ahead of it, its first one sees too
    paths = [[j for j in range(start) if stops[j] > start] for start in starts]
    bounds = [*starts, total]
    widths = [bounds[n + 1] - start for n, start in enumerate(starts)]
    pairs = sum(width * (len(path) + width) for width, path in zip(widths, paths, strict=True))
    if pairs > _WORTH * total * total:
        return mask
    inner = {edge for path in paths for j, after in pairwise(path) if after != j + 1 for edge in (j + 1, after)}
    outer = {edge for path in paths if path for edge in (path[0], path[-1] + 1)}
    edges = sorted({*bounds, *inner, *outer})
    number = {edge: n for n, edge in enumerate(edges)}
    blocks = []
    for start, width, path in zip(starts, widths, paths, strict=True):
        own = range(number[start], number[start + width])
        seen = [number[j] for j in path if j in number] + list(own)
        columns = torch.tensor(path + list(range(start, start + width)))
        part = mask[:, :, start : start + width].index_select(-1, columns)
        chain = not path and torch.equal(part.tril(), torch.zeros_like(part))
        blocks.append(Block(own, seen, None if chain else part))
    mask.cut = Cut([after - before for before, after in pairwise(edges)], blocks)
    AttentionInterface.register("sdpa", _attend)
    return mask


def _attend(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **options: Any) -> tuple[Any, None]:
    """(B, heads, T, D) -> (B, T, heads, D): transformers' own way, but for masks that have been cut."""
    cut = getattr(attention_mask, "cut", None)
    known = {"dropout", "scaling", "sliding_window", "is_causal", "position_ids"}
    asked = {name for name, value in options.items() if value is not None and value is not False}
    if cut is None or options.get("dropout") or asked - known:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    repeats = query.shape[1] // key.shape[1]
    # one split each: the gradients of slices would be added up over all T tokens for every block
    queries, keys, values = (
        part.split(cut.sizes, 2) for part in (query, repeat_kv(key, repeats), repeat_kv(value, repeats))
    )
    parts = [
        functional.scaled_dot_product_attention(
            _join(queries, block.own),
            _join(keys, block.keys),
            _join(values, block.keys),
            attn_mask=block.mask,
            is_causal=block.mask is None,
            scale=options.get("scaling"),
        )
        for block in cut.blocks
    ]
    return torch.cat(parts, 2).transpose(1, 2).contiguous(), None


def _join(pieces: Sequence[Any], which: Sequence[int]) -> Any:
    return torch.cat([pieces[n] for n in which], 2)
