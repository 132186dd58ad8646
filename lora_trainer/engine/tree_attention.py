"""Attention within a prefix tree: its masks, and on a CPU block by block: what no branch may see isn't computed there.

A mask of T x T lets most pairs of tokens be computed for nothing. On a CPU each block of neighbouring branches attends
to itself and to the path that leads to it from the root.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from lora_trainer.engine.prefix_tree import TreeBatch

_GROUP = 48
"""Queries below which a block costs more by its call than by its arithmetic."""
_WORTH = 0.7
"""Blocks are used where they have at most this share of the pairs."""


class Block(NamedTuple):
    """Some neighbouring branches of a tree, N tokens of its T."""

    own: slice
    keys: Any
    """(C,): the places in the tree of the path to it, then its own."""
    mask: Any
    """Additive (N, C)."""


def tree_masks(model: Any, tree: TreeBatch) -> Any:
    """The attention masks, additive (1, 1, T, T), by kind of layer for models that have several."""
    config = model.config.get_text_config()
    index = torch.arange(tree.tokens, device=tree.ends.device)
    sees = (index[None, :] <= index[:, None]) & (index[:, None] < tree.ends[None, :])
    window = getattr(config, "sliding_window", None)
    near = sees
    if window:
        position = tree.position_ids[0]
        # one number more for each pair would be 8 bytes
        near = sees & (position[:, None] < (position + window)[None, :])

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


def cut_into_blocks(mask: Any, ends: Any) -> Any:
    """Mark an additive mask (1, 1, T, T) of a tree, whose `ends` (T,) are TreeBatch's, as one to be cut; returns it.

    The mark is an attribute, so that it is there too when activations are recomputed.
    """
    if mask.device.type != "cpu" or mask.dtype is not torch.float32:
        return mask
    stops = ends.tolist()
    total = len(stops)
    starts = [0]
    for i in range(1, total):
        # behind a leaf, or a long chain, half of whose pairs are of a token and a later one
        if i - starts[-1] >= (_GROUP if stops[i - 1] == i else 3 * _GROUP):
            starts.append(i)
    blocks = []
    for start, after in zip(starts, [*starts[1:], total], strict=True):
        # what any token of a block sees ahead of it, its first one sees too
        keys = torch.tensor([j for j in range(start) if stops[j] > start] + list(range(start, after)))
        blocks.append(Block(slice(start, after), keys, mask[0, 0, start:after].index_select(-1, keys)))
    if sum(block.mask.numel() for block in blocks) <= _WORTH * total * total:
        mask.blocks = blocks
        AttentionInterface.register("sdpa", _attend)
    return mask


def _attend(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **options: Any) -> tuple[Any, None]:
    """(B, heads, T, D) -> (B, T, heads, D): transformers' own way, but for masks that have been cut."""
    blocks = getattr(attention_mask, "blocks", None)
    known = {"dropout", "scaling", "sliding_window", "is_causal", "position_ids"}
    asked = {name for name, given in options.items() if given is not None and given is not False}
    known_form = query.dtype is torch.float32 and len(query) == 1 and key.shape[-1] == value.shape[-1]
    if blocks is None or options.get("dropout") or asked - known or not known_form:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    scale = options.get("scaling")
    return _BlockAttention.apply(query, key, value, blocks, query.shape[-1] ** -0.5 if scale is None else scale), None


class _BlockAttention(torch.autograd.Function):
    """softmax(scale Q K' + mask) V of (1, heads, T, D) and its gradients; the softmax is computed anew on the way back.

    The G query heads that share a head of keys stand in one matrix, so that no keys are repeated. All blocks' scores
    are held in the same memory, one after the other.
    """

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, blocks: list[Block], scale: float) -> Any:
        _, heads, tokens, width = query.shape
        shared = key.shape[1]
        # (K, G, T, D) and, keys and values together, (2 K, T, D)
        queries = (query[0] * scale).view(shared, heads // shared, tokens, width)
        pairs = torch.cat((key[0], value[0]))
        # not a view, which no model may change in place where a function of ours gives it
        given = query.new_empty(1, tokens, heads, value.shape[-1])
        out = given.view(tokens, shared, heads // shared, value.shape[-1])
        room = query.new_empty(heads * max(block.mask.numel() for block in blocks))
        for block in blocks:
            keys, values = pairs.index_select(1, block.keys).chunk(2)
            attention = _attention(_rows(queries[:, :, block.own]), keys, block.mask, room)
            out[block.own] = _heads(torch.bmm(attention, values), out)
        ctx.save_for_backward(queries, pairs)
        ctx.blocks, ctx.scale = blocks, scale
        return given

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        queries, pairs = ctx.saved_tensors
        shared, groups, tokens, width = queries.shape
        upstreams = upstream.reshape(tokens, shared, groups, -1).permute(1, 2, 0, 3)
        query_upstream = queries.new_empty(tokens, shared, groups, width)
        pair_upstream = torch.zeros_like(pairs)
        room, other_room = queries.new_empty(2, shared * groups * max(block.mask.numel() for block in ctx.blocks))
        for block in ctx.blocks:
            rows, rows_upstream = _rows(queries[:, :, block.own]), _rows(upstreams[:, :, block.own])
            keys, values = pairs.index_select(1, block.keys).chunk(2)
            attention = _attention(rows, keys, block.mask, room)
            change = pairs.new_empty(2 * shared, len(block.keys), width)
            torch.bmm(attention.mT, rows_upstream, out=change[shared:])
            scores = torch.bmm(rows_upstream, values.mT, out=other_room[: attention.numel()].view(attention.shape))
            torch.ops.aten._softmax_backward_data.out(scores, attention, -1, scores.dtype, grad_input=scores)
            query_upstream[block.own] = _heads(torch.bmm(scores, keys), query_upstream)
            torch.bmm(scores.mT, rows, out=change[:shared])
            pair_upstream.index_add_(1, block.keys, change)
        query_upstream = query_upstream.mul_(ctx.scale).permute(1, 2, 0, 3).reshape(1, shared * groups, tokens, width)
        return query_upstream, *pair_upstream[None].chunk(2, 1), None, None


def _rows(part: Any) -> Any:
    """(K, G, N, D) -> (K, G N, D)."""
    return part.reshape(part.shape[0], -1, part.shape[-1])


def _heads(rows: Any, like: Any) -> Any:
    """(K, G N, D) -> (N, K, G, D), with `like`'s (T, K, G, D) numbers of heads."""
    return rows.view(like.shape[1], like.shape[2], -1, rows.shape[-1]).permute(2, 0, 1, 3)


def _attention(rows: Any, keys: Any, mask: Any, room: Any) -> Any:
    """softmax(Q K' + mask) of (K, G N, D) and (K, C, D) under (N, C), written into `room`: (K, G N, C)."""
    shape = (len(rows), rows.shape[1], keys.shape[1])
    scores = torch.bmm(rows, keys.mT, out=room[: shape[0] * shape[1] * shape[2]].view(shape))
    scores.view(-1, *mask.shape).add_(mask)
    return torch.softmax(scores, -1, out=scores)
