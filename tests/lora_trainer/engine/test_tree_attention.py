"""Attention by blocks: the same values and gradients as with the whole mask."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from lora_trainer.data.encode import EncodedSequence
from lora_trainer.engine import tree_attention
from lora_trainer.engine.prefix_tree import tree_batches

tails = st.lists(st.lists(st.integers(1, 3), min_size=2, max_size=30), min_size=1, max_size=12)


class Layer(torch.nn.Module):
    """What the attention functions ask of their layer."""

    num_key_value_groups = 2
    is_causal = True


@settings(max_examples=80, deadline=None)
@given(root=st.integers(0, 60), tails=tails, window=st.sampled_from([None, 5, 40]), group=st.sampled_from([1, 8, 32]))
def test_blocks_give_what_the_whole_mask_gives(
    root: int, tails: list[list[int]], window: int | None, group: int
) -> None:
    (tree,) = tree_batches([EncodedSequence([9] * root + tail[:1], tail[1:]) for tail in tails], 1 << 20)
    index = torch.arange(tree.tokens)
    sees = (index[None] <= index[:, None]) & (index[:, None] < tree.ends[None])
    if window:
        sees &= tree.position_ids[0][:, None] - tree.position_ids[0][None] < window
    mask = torch.zeros(sees.shape).masked_fill_(~sees, torch.finfo(torch.float32).min)[None, None]
    torch.manual_seed(0)
    query = torch.randn(1, 4, tree.tokens, 8, requires_grad=True)
    key, value = (torch.randn(1, 2, tree.tokens, 8, requires_grad=True) for _ in range(2))
    whole, _ = sdpa_attention_forward(Layer(), query, key, value, mask, scaling=0.3)
    upstream = torch.randn_like(whole)
    expected = torch.autograd.grad(whole, (query, key, value), upstream)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_attention, "_GROUP", group)
        patch.setattr(tree_attention, "_WORTH", 2.0)
        cut = tree_attention.cut_into_blocks(mask, tree.ends)
    assert sum(len(block.mask) for block in cut.blocks) == tree.tokens
    ours, _ = tree_attention._attend(Layer(), query, key, value, cut, scaling=0.3, dropout=0.0, use_cache=False)
    gradients = torch.autograd.grad(ours, (query, key, value), upstream)
    for found, wanted in zip((ours, *gradients), (whole, *expected), strict=True):
        # float32 rounds each of the sums by 1e-7, and their order is the kernels'; the gradients of query and key of a
        # token that sees itself alone are 0, and what a kernel has in their place is rounding of what came from above
        assert (found - wanted).norm() <= 1e-5 * max(wanted.norm(), upstream.norm())


def test_a_tree_without_branches_worth_it_keeps_its_whole_mask() -> None:
    (tree,) = tree_batches([EncodedSequence([1, 2], [3, 4, 5]), EncodedSequence([1, 7], [8])], 1 << 20)
    mask = torch.zeros(1, 1, tree.tokens, tree.tokens)
    assert not hasattr(tree_attention.cut_into_blocks(mask, tree.ends), "blocks")
