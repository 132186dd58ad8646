"""A few steps of a training, to see that it can be done: no Trainer, no checkpoints, nobody hears of it."""

from __future__ import annotations

from typing import Any

from lora_trainer.data.encode import EncodedDialogues
from lora_trainer.errors import BaseModelError, UserError, as_memory_error
from lora_trainer.models.source import BaseModel
from lora_trainer.plan import TrainPlan

STEPS = 2
"""With the first, only the half of an adapter that begins as zeros learns."""
_FIRST = 16
"""Of so many dialogues at the beginning the shortest are taken."""


def adapter_after_steps(base: BaseModel, rows: EncodedDialogues, plan: TrainPlan, device: str, dtype: str) -> Any:
    """The base model with its adapter, trained as the plan says on a dialogue a step; `device`, `dtype` as for
    `load_model`.

    Raises BaseModelError where it can't be trained, ResourceError where memory ran out, and what `adapted_model` does.
    """
    from lora_trainer.models.adapter import adapted_model

    model = adapted_model(base, plan, device, dtype)
    try:
        _train(model, rows, plan, device, dtype)
    except UserError:
        raise
    except Exception as error:
        if lack := as_memory_error(error):
            raise lack from error
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise BaseModelError("error.base.not_trainable", source=base.source, reason=reason) from error
    return model


def _train(model: Any, rows: EncodedDialogues, plan: TrainPlan, device: str, dtype: str) -> None:
    import torch

    from lora_trainer.engine.batching import micro_batches, negative_log_likelihood
    from lora_trainer.engine.fused_layers import fuse_layers
    from lora_trainer.train import MAX_GRADIENT_NORM

    fuse_layers(model)
    model.train()
    learnt = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=plan.learning_rate, weight_decay=0.0)
    shortest = sorted(rows[:_FIRST], key=lambda dialogue: max(map(len, dialogue.sequences)))
    for step in range(STEPS):
        sequences = shortest[step % len(shortest)].sequences
        for batch in micro_batches(sequences, max(map(len, sequences)), pad_id=0):
            with torch.autocast(device, getattr(torch, dtype), enabled=dtype != "float32"):
                nll = negative_log_likelihood(model, batch.to(device))
            (nll / sum(len(sequence.completion_ids) for sequence in sequences)).backward()
        torch.nn.utils.clip_grad_norm_(learnt, MAX_GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad()
