"""What is done where memory runs out in the middle of a training: less is tried, until nothing less is left."""

from __future__ import annotations

import ctypes
import gc
import platform
from collections.abc import Callable
from typing import Any, TypeVar

from lora_trainer.errors import MEMORY_WORDS, ResourceError
from lora_trainer.events import Listener, Note

_Found = TypeVar("_Found")


class Fallback:
    """How much one pass of a model takes on: fewer tokens at a time, then recomputed activations, each time it fails.

    Among several processes (`alone` false) nothing less is tried: all of them would have to change at once.
    """

    def __init__(self, model: Any, token_budget: int, *, device: str, max_length: int, alone: bool) -> None:
        self.model, self.token_budget = model, token_budget
        self.device, self.max_length, self.alone = device, max_length, alone
        self.checkpointing = False
        """Whether activations are computed a second time on the way back instead of being kept."""

    def checkpoint_activations(self) -> None:
        """Keep no activations from now on."""
        self.checkpointing = True
        self.model.activation_checkpointing_enable({"use_reentrant": False})

    def attempt(
        self, compute: Callable[[], _Found], sequences: int, *, can_recompute: bool, listener: Listener
    ) -> _Found | None:
        """What `compute` gives; None where memory ran out, and less is to be used from now on.

        `sequences`: the most that one of its micro-batches holds. Raises ResourceError where nothing less is left.
        """
        try:
            return compute()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error)
        # the error is gone, and with it what its traceback kept in memory
        self.model.zero_grad()
        self._use_less(sequences, reason, can_recompute, listener)
        return None

    def _use_less(self, sequences: int, reason: str, can_recompute: bool, listener: Listener) -> None:
        """Halve the token budget, then recompute activations, then give up."""
        if self.alone and sequences > 1:
            self.token_budget //= 2
            listener(Note("note.token_budget_halved", {"tokens": self.token_budget}))
        elif self.alone and can_recompute and not self.checkpointing:
            self.checkpoint_activations()
            listener(Note("note.activations_recomputed"))
        else:
            key = "error.resource.training_memory" if self.alone else "error.resource.training_memory_together"
            raise ResourceError(key, max_length=self.max_length, reason=reason.partition("\n")[0])
        give_memory_back(self.device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; CUDA has a class for it, all the others have only words."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in MEMORY_WORDS)


def give_memory_back(device: str) -> None:
    """Give what nothing refers to any more back: the device's ("cuda", "mps") to Ollama or the next run, ours to all.

    glibc keeps memory that was freed; other allocators see to it themselves.
    """
    import torch

    # models and trainers refer to themselves in circles
    gc.collect()
    if device != "cpu":
        getattr(torch, device).empty_cache()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
