"""The loss of a prefix tree, and the trial whether this model's trees are its padded batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lora_trainer.data.encode import EncodedSequence
from lora_trainer.engine.batching import micro_batches, negative_log_likelihood
from lora_trainer.engine.prefix_tree import TreeBatch, tree_batches
from lora_trainer.engine.sharding import gradients as gradients_of

KNOWN_LAYERS = {"full_attention", "sliding_attention"}
"""Kinds of layers that are told everything about a sequence by positions and mask."""


_WITH_A_STATE = ("state_size", "ssm_state_size", "mamba_d_state", "conv_L_cache", "linear_conv_kernel_dim")
"""Sizes that configurations have whose layers carry a state from token to token, where they don't list the layers."""
_BY_DISTANCE = ("bloom", "mpt")
"""Families that tell distances by the places in the row alone (ALiBi: Press et al., 2021, arXiv:2108.12409); Falcon's
older models say so themselves."""


def supports_tree(config: Any) -> bool:
    """Whether every kind of layer in a model's configuration learns all about a sequence from positions and a mask."""
    if config.model_type in _BY_DISTANCE or getattr(config, "alibi", False):
        return False
    if kinds := getattr(config, "layer_types", None):
        return set(kinds) <= KNOWN_LAYERS
    return not any(getattr(config, size, None) for size in _WITH_A_STATE)


def tree_negative_log_likelihood(model: Any, tree: TreeBatch) -> Any:
    """Sum over all sequences' supervised tokens of -log p(token), in nats, float32; a scalar tensor."""
    from lora_trainer.engine.loss import weighted_nll
    from lora_trainer.engine.tree_attention import tree_masks

    inputs = {
        "input_ids": tree.input_ids,
        "position_ids": tree.position_ids,
        "attention_mask": tree_masks(getattr(model, "module", model), tree),
    }
    rows = tree.positions.new_zeros(len(tree.positions))
    return weighted_nll(model, inputs, rows, tree.positions, tree.target_index, tree.targets, tree.weights)


def tolerance(model: Any) -> float:
    """How far loss and gradients of a tree may be off from those of the padded batch, relative to them.

    Measured in two layers of each family on a CPU: float32 rounds such gradients by 1e-6 of their length, bfloat16 by
    1e-2 (deeper models more); a layer that takes in half of another branch's token changes them by 4e-2 to 4e-1.
    """
    import torch

    return 1e-3 if model.dtype == torch.float32 else 0.1


def off_by(model: Any, sequences: Sequence[EncodedSequence], pad_id: int, device: Any) -> float | None:
    """How far loss and gradients of `sequences` as a tree are off from those of the padded batch, on this very model.

    None where memory doesn't hold them, infinite where the model fails of its masks. The sequences have to begin alike
    and part, as those of `prefix_tree.fork` do: in a tree without branches no layer sees too much. An adapter's
    gradients go through every layer, so a layer that sees more than position and mask tell it shows.
    """
    import torch

    from lora_trainer.engine.fallback import is_out_of_memory

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
        return None if is_out_of_memory(error) else math.inf
    finally:
        model.train(training)
    length = float(gradients[0].norm())
    # what is no number is as far off as can be
    found = [float((gradients[0] - gradients[1]).norm()) / length if length else math.nan]
    found.append(abs(losses[0] - losses[1]) / abs(losses[0]) if losses[0] else math.nan)
    return max(math.inf if math.isnan(off) else off for off in found)
