"""The loss on a page of general text: what a model forgets while it learns something else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lora_trainer.data.encode import EncodedSequence

MOST_TOKENS = 512
"""Of the page that are read: before and after are of the same ones, so that small differences show."""


def page_of(text: str, tokenizer: Any, max_length: int) -> EncodedSequence | None:
    """The beginning of a text as one sequence, its first token given, all others to be told; None for an empty one.

    No longer than `max_length`, so that memory holds it where it holds the training.
    """
    ids = tokenizer(text, add_special_tokens=False).input_ids
    bos = tokenizer.bos_token_id
    if bos is not None and tokenizer("a").input_ids[0] == bos:
        ids = [bos, *ids]
    ids = ids[: min(MOST_TOKENS, max_length)]
    return EncodedSequence(ids[:1], ids[1:]) if len(ids) > 1 else None


def loss_on(model: Any, page: EncodedSequence, device: Any) -> float:
    """The mean loss per token (nats) of a PEFT model in eval mode; to be called as its forward is."""
    import torch

    from lora_trainer.engine.batching import micro_batches, negative_log_likelihood

    (batch,) = micro_batches([page], len(page), 0)
    with torch.no_grad():
        return float(negative_log_likelihood(model, batch.to(device))) / len(page.completion_ids)


@contextmanager
def as_base_model(model: Any) -> Iterator[None]:
    """Within, the adapter adds nothing: what it gives is multiplied by 0.

    PEFT's own way of disabling it changes which weights ask for a gradient.
    """
    layers = [module for module in model.modules() if isinstance(getattr(module, "scaling", None), dict)]
    scales = [dict(layer.scaling) for layer in layers]
    try:
        for layer in layers:
            layer.scaling.update(dict.fromkeys(layer.scaling, 0.0))
        yield
    finally:
        for layer, scale in zip(layers, scales, strict=True):
            layer.scaling.update(scale)
