"""A real base model in full precision, out of a GGUF, and an adapter that changes its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def source_of(model: str) -> str:
    """What `--model` means: a base model's source, smollm2 the one that comes with the installation."""
    from pipeline.conversation import embedded_base_model

    return str(embedded_base_model()) if model == "smollm2" else model


def dequantised(gguf: Path, folder: Path) -> tuple[Any, Any, Any]:
    """(base model, tokenizer, chat format): `folder` gets the weights of `gguf` in float32, as transformers reads them.

    Raises BaseModelError as `resolve_base_model` and `load_model` do.
    """
    from lora_trainer.models.load import chat_format_of, load_model, load_tokenizer
    from lora_trainer.models.source import resolve_base_model

    quantised = resolve_base_model(str(gguf))
    tokenizer = load_tokenizer(quantised)
    load_model(quantised, "cpu", "float32").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return resolve_base_model(str(folder)), tokenizer, chat_format_of(quantised, tokenizer)


def random_adapter(base: Any, folder: Path) -> Path:
    """An adapter for `base` whose deltas are random numbers, small enough that the model still answers."""
    import torch

    from lora_trainer.plan import TrainPlan
    from lora_trainer.train import trainable_model

    torch.manual_seed(0)
    fresh = trainable_model(base, TrainPlan(), "cpu", "float32")
    for name, parameter in fresh.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.01)
    fresh.save_pretrained(folder, save_embedding_layers=False)
    return folder
