"""Attention within a prefix tree on a CPU, block by block: what no branch may see isn't computed.

A mask of T x T lets most pairs of tokens be computed for nothing. Here the tokens that all sequences begin with attend
to themselves, and every group of branches to these and itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.nn import functional

_GROUP = 32
"""Queries below which a block costs more by its call than by its arithmetic."""
_WORTH = 0.7
"""Blocks are used where they have at most this share of the pairs."""


class Block(NamedTuple):
    """Some neighbouring branches, or the root itself."""

    tokens: int
    mask: Any
    """Additive (1, 1, tokens, keys): keys are the root's tokens (but for the root's own block) and its own; None for
    causal attention."""


def cut_into_blocks(mask: Any, ends: Any) -> Any:
    """Mark an additive mask (1, 1, T, T) of a tree, whose `ends` (T,) are TreeBatch's, as one to be cut; returns it.

    The mark is an attribute, so that it is there too when activations are recomputed.
    """
    if mask.device.type != "cpu":
        return mask
    stops = ends.tolist()
    total = len(stops)
    root = next((i for i, end in enumerate(stops) if end < total), total)
    sizes, at = [root] if root else [], root
    while at < total:
        stop = stops[at]
        while stop < total and stop - at < _GROUP:
            stop = stops[stop]
        sizes.append(stop - at)
        at = stop
    pairs = root * root // 2 + sum(size * (root + size) for size in sizes[bool(root) :])
    if pairs <= _WORTH * total * total:
        blocks, start = [], 0
        for size in sizes:
            rows = mask[:, :, start : start + size]
            own = rows[..., start : start + size]
            blocks.append(Block(size, torch.cat([rows[..., :root], own], -1) if start and root else own.contiguous()))
            start += size
        if root and torch.equal(blocks[0].mask.tril(), torch.zeros_like(blocks[0].mask)):
            blocks[0] = Block(root, None)
        mask.blocks = (root, blocks)
        from transformers import AttentionInterface

        AttentionInterface.register("sdpa", _attend)
    return mask


def _attend(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **options: Any) -> tuple[Any, None]:
    """(B, heads, T, D) -> (B, T, heads, D): transformers' own way, but for masks that have been cut."""
    from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

    cut = getattr(attention_mask, "blocks", None)
    known = {"dropout", "scaling", "sliding_window", "is_causal", "position_ids"}
    asked = {name for name, value in options.items() if value is not None and value is not False}
    unusual = options.get("dropout") or asked - known
    if cut is None or unusual:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    root, blocks = cut
    repeats = query.shape[1] // key.shape[1]
    sizes = [block.tokens for block in blocks]
    # one split each: the gradients of slices would be added up over all T tokens for every block
    queries, keys, values = (
        part.split(sizes, 2) for part in (query, repeat_kv(key, repeats), repeat_kv(value, repeats))
    )
    parts = []
    for number, (block, q, k, v) in enumerate(zip(blocks, queries, keys, values, strict=True)):
        if root and number:
            k, v = torch.cat([keys[0], k], 2), torch.cat([values[0], v], 2)
        parts.append(
            functional.scaled_dot_product_attention(
                q, k, v, attn_mask=block.mask, is_causal=block.mask is None, scale=options.get("scaling")
            )
        )
    return torch.cat(parts, 2).transpose(1, 2).contiguous(), None
