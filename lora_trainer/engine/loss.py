"""The loss over supervised tokens, taken inside the model's output layer: no logits are kept, none are unneeded.

With 150,000 tokens in the vocabulary, logits and their gradients would take most of the memory, and the passes over
them a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from weakref import WeakSet

import torch

from lora_trainer.engine.fused_layers import last_block_at

_BUFFER = 1 << 22
"""Logits that are held at a time: they stay in the cache, and the output layer's weights are read once."""
_plain: WeakSet[Any] = WeakSet()
"""Output layers whose values the model changes afterwards (soft caps, scales): their logits are asked for."""


class _HeadNLL(torch.autograd.Function):
    """-log p of some continuations, with the gradient of the hidden states (U, H) computed on the way.

    The vocabulary goes by in chunks; as in the attention of Milakov and Gimelshein (2018, arXiv:1805.02867) and Dao et
    al. (2022, arXiv:2205.14135), what was summed up is rescaled whenever a larger logit is found.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Any, weight: Any, bias: Any, target_index: Any, targets: Any, weights: Any, learn: bool
    ) -> Any:
        positions, vocabulary = len(hidden), len(weight)
        exact = _sums_in_float32(hidden.device.type, hidden.dtype)
        states = hidden if exact else hidden.float()
        # where a chunk of the weights has to be turned into float32, it is held too
        width = max(256, _BUFFER // (positions if exact else max(positions, hidden.shape[1])))
        buffer = torch.empty(positions * min(width, vocabulary), dtype=torch.float32, device=hidden.device)
        highest = torch.full((positions, 1), -torch.inf, device=hidden.device)
        summed = torch.zeros_like(highest)
        # sum of p(token) W[token], as yet without its divisor
        mean = torch.zeros(positions, hidden.shape[1], dtype=torch.float32, device=hidden.device) if learn else None
        for start in range(0, vocabulary, width):
            chunk = weight[start : start + width]
            chunk = chunk if exact else chunk.float()
            scores = _product(states, chunk.T, buffer[: positions * len(chunk)].view(positions, -1))
            if bias is not None:
                scores.add_(bias[start : start + width])
            higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
            rescale = (highest - higher).exp_()
            highest = higher
            # in place: each pass over so many values costs as much as a layer
            mass = scores.sub_(higher).exp_()
            summed.mul_(rescale).add_(mass.sum(-1, keepdim=True))
            if mean is None:
                continue
            mean.mul_(rescale)
            if chunk.dtype is torch.float32:
                mean.addmm_(mass, chunk)
            else:
                mean.add_(_product(mass.to(chunk.dtype), chunk, torch.empty_like(mean)))
        normaliser = (summed.log() + highest)[target_index, 0]
        wanted = weight[targets].float()
        chosen = (hidden[target_index].float() * wanted).sum(-1)
        if bias is not None:
            chosen += bias[targets]
        gradient = None
        if mean is not None:
            times = torch.zeros_like(summed[:, 0]).index_add_(0, target_index, weights)
            mean.mul_(times[:, None] / summed).index_add_(0, target_index, wanted * -weights[:, None])
            gradient = mean.to(hidden.dtype)
        ctx.save_for_backward(gradient)
        return (weights * (normaliser - chosen)).sum()

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream.to(gradient.dtype), None, None, None, None, None, None


@cache
def _sums_in_float32(device: str, dtype: Any) -> bool:
    """Whether products of this type can be had in float32 here, as they are summed up; rounded, they'd spoil the loss.

    CUDA can from PyTorch 2.8 on.
    """
    if dtype is torch.float32:
        return True
    one = torch.ones(16, 16, dtype=dtype, device=device)
    try:
        torch.mm(one, one, out_dtype=torch.float32, out=one.float())
    except (RuntimeError, TypeError):
        return False
    return True


def _product(a: Any, b: Any, out: Any) -> Any:
    """a b, of a type that `_sums_in_float32`, in `out`."""
    if a.dtype is torch.float32:
        return torch.mm(a, b, out=out)
    return torch.mm(a, b, out_dtype=torch.float32, out=out)


def weighted_nll(
    model: Any, inputs: dict[str, Any], rows: Any, columns: Any, target_index: Any, targets: Any, weights: Any
) -> Any:
    """Sum of weights * -log p(target), in nats, float32; a scalar tensor.

    `rows`, `columns` (U,): the positions of the batch that something is predicted from; target i of N, `targets[i]`,
    follows position `target_index[i]` of these U, `weights[i]` times.
    """
    head = getattr(model, "module", model).get_output_embeddings()
    if _is_linear(head) and head not in _plain:
        in_head = _loss_in(head, rows, columns, target_index, targets, weights)
        with last_block_at(model, rows, columns), in_head as found:
            out = model(**inputs, use_cache=False).logits
        if len(found) == 1 and out.numel() == 1 and _is_unchanged(out, found[0]):
            return out.view(())
        _plain.add(head)
    with last_block_at(model, rows, columns), _selecting(head, rows, columns):
        logits = model(**inputs, use_cache=False).logits
    if logits.shape[0] != 1 or logits.shape[1] != len(rows):
        # an architecture that doesn't call its output layer in the usual way computed them all
        logits = logits[rows, columns].unsqueeze(0)
    scores = logits[0].float()
    # an order more exact than cross_entropy, whose log_softmax rounds each of 150,000 values
    return (weights * (scores.logsumexp(-1)[target_index] - scores[target_index, targets])).sum()


def _is_unchanged(out: Any, loss: Any) -> bool:
    """Whether a model gives what its output layer gave; a loss of 0 says nothing, scales and soft caps leave it be."""
    return out.data_ptr() == loss.data_ptr() or bool(torch.equal(out, loss) and out.count_nonzero())


def _is_linear(head: Any) -> bool:
    """Whether an output layer is a frozen matrix; float16 would lose the smallest of its gradients here."""
    return (
        type(head).forward is torch.nn.Linear.forward
        and not any(parameter.requires_grad for parameter in head.parameters())
        and head.weight.dtype is not torch.float16
    )


@contextmanager
def _loss_in(head: Any, rows: Any, columns: Any, target_index: Any, targets: Any, weights: Any) -> Iterator[list[Any]]:
    """Within, the output layer gives the loss (1, 1, 1) in place of logits, which is also noted in the list given."""
    hidden: list[Any] = []
    found: list[Any] = []

    def take(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden.append(inputs[0][rows, columns].to(head.weight.dtype))
        return (inputs[0][:, :0],)

    def give(*_: Any) -> Any:
        states = hidden.pop()
        learn = states.requires_grad and torch.is_grad_enabled()
        # autocast would turn what is written into given places into copies
        with torch.autocast(states.device.type, enabled=False):
            loss = _HeadNLL.apply(states, head.weight, head.bias, target_index, targets, weights, learn)
        # FSDP warns of views
        found.append(loss.view(1, 1, 1).clone())
        return found[-1]

    handles = [head.register_forward_pre_hook(take), head.register_forward_hook(give)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _selecting(head: Any, rows: Any, columns: Any) -> Iterator[None]:
    """Hand the output layer only the hidden states (B, T, H) at the positions asked for, as (1, U, H).

    All that a model does behind it (scaling, soft caps) is done position by position.
    """

    def select(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (inputs[0][rows, columns].unsqueeze(0), *inputs[1:])

    handle = head.register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()
