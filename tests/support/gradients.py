"""What a step of a model comes to, micro-batch by micro-batch."""

from __future__ import annotations

from typing import Any

from lora_trainer.engine.batching import negative_log_likelihood


def gradients(model: Any, batches: list[Any], loss_of: Any = negative_log_likelihood) -> tuple[float, Any]:
    """The sum of the batches' losses (nats), and the gradients of all parameters that have one, as one vector."""
    import torch

    model.zero_grad()
    loss = 0.0
    for batch in batches:
        nll = loss_of(model, batch)
        nll.backward()
        loss += nll.item()
    return loss, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
