"""Whether Ollama can hold the context that a model is to be served with: found before the training, not after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_trainer.errors import ResourceError
from lora_trainer.events import Listener, Note
from pipeline.serving import Serving

if TYPE_CHECKING:
    from lora_trainer.models.source import BaseModel

CACHE_BYTES = 2
"""Of a number in the cache of keys and values: Ollama's default type is f16 (OLLAMA_KV_CACHE_TYPE)."""


def check_context(serving: Serving, base: BaseModel, listener: Listener, *, memory: int | None) -> None:
    """Tell where the base model wasn't made for so much, which Ollama cuts to what it was made for (llm/server.go).

    `memory`: bytes of the machine that serves it, None where that is another one. Raises ResourceError where the cache
    of keys and values alone takes more: Ollama would refuse to load the model.
    """
    from lora_trainer.engine.memory import shape_of
    from lora_trainer.models.load import load_config

    wanted = serving.parameters.get("num_ctx")
    if not isinstance(wanted, int):
        return
    made_for = getattr(load_config(base), "max_position_embeddings", None)
    taken = min(wanted, made_for) if made_for else wanted
    if taken < wanted:
        listener(Note("note.num_ctx.cut", {"num_ctx": wanted, "made_for": made_for}))
    if memory is None:
        return
    shape = shape_of(base)
    a_token = 2 * shape.layers * shape.kv_heads * shape.head_dim * CACHE_BYTES
    if taken * a_token > memory:
        needed, total = (f"{size / 1e9:.1f} GB" for size in (taken * a_token, memory))
        fits = 1 << (memory // 2 // a_token).bit_length() - 1
        raise ResourceError("error.memory.num_ctx", num_ctx=wanted, needed=needed, total=total, fits=fits)


def memory_of_this_machine() -> int:
    """Bytes of the processor's memory and of a graphics card's own: Ollama spreads a model over both."""
    from lora_trainer.engine.hardware import detect, processor_of_this_machine

    card = detect()
    return processor_of_this_machine().memory_total + (card.memory_total if card.device == "cuda" else 0)
