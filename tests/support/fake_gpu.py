"""`python -m tests.support.fake_gpu FOLDER DTYPE FAMILY…`: losses and gradients on a device that only claims to be.

Its tensors have shapes, types and a device, and no values: torch checks them as it does those of a real one, so
whatever is made on the CPU and meets them is found without a graphics card. The device can't be taken back.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from lora_trainer.engine.batching import micro_batches, negative_log_likelihood
from lora_trainer.engine.prefix_tree import tree_batches
from lora_trainer.engine.tree_trial import tree_negative_log_likelihood
from lora_trainer.plan import TrainPlan
from lora_trainer.train import trainable_model
from tests.support.tiny import make_tiny
from tests.support.train_tiny import prepared

DEVICE = "gpu:0"


class _Fake(FakeTensorMode):
    avoid_device_init = True  # or single numbers would be moved to the device for real


def move(model: Any) -> None:
    """Replace all weights and buffers by such as are on the device."""
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                fake = torch.empty(weight.shape, dtype=weight.dtype, device=DEVICE)
                module._parameters[name] = torch.nn.Parameter(fake, weight.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=DEVICE)


def learn(folder: Path, family: str, dtype: str, *, recompute: bool) -> None:
    """Both kinds of batches, forward and back."""
    base, _, rows, _ = prepared(make_tiny(folder, family))
    model = trainable_model(base, TrainPlan(), "cpu", dtype)
    sequences = [sequence for row in rows[:5] for sequence in row.sequences]
    with _Fake():
        ways: list[tuple[Any, Any]] = [
            (negative_log_likelihood, micro_batches(sequences, 100, 0)),
            (tree_negative_log_likelihood, tree_batches(sequences, 100)),
        ]
        move(model)
        model.train()
        if recompute:
            model.activation_checkpointing_enable({"use_reentrant": False})
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        for loss_of, batches in ways:
            assert len(batches) > 1
            for batch in batches:
                loss = loss_of(model, batch.to(DEVICE))
                assert (loss.dtype, loss.device) == (torch.float32, torch.device(DEVICE))
                loss.backward()
            assert all(weight.grad is not None and weight.grad.dtype is torch.float32 for weight in trained)
            model.zero_grad()


def main(folder: str, dtype: str, *families: str) -> None:
    """Prints each family that went through."""
    _setup_privateuseone_for_python_backend("gpu")
    torch.get_device_module("gpu").get_amp_supported_dtype = lambda: [torch.bfloat16]
    # autocast has rules for real devices alone
    rules = torch.library.Library("_", "IMPL")
    rules.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for family in families:
        for recompute in (False, True):
            learn(Path(folder) / family, family, dtype, recompute=recompute)
        print(family)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    # autograd keeps a thread for the device that isn't there, and now and then C++ ends the process for it at its exit
    os._exit(0)
