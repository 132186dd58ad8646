"""A base model's sizes: all that memory and time depend on, known without loading, or even downloading, the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from file_formats.gguf import GgufHead

SIZES = {
    "hidden_size": ("hidden_size", "n_embd", "dim", "d_model"),
    "num_hidden_layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "num_attention_heads": ("num_attention_heads", "n_head", "n_heads"),
    "num_key_value_heads": ("num_key_value_heads", "n_head_kv"),
    "intermediate_size": ("intermediate_size", "n_inner", "ffn_dim", "hidden_dim"),
    "vocab_size": ("vocab_size",),
    "head_dim": ("head_dim",),
}
"""transformers' name of a size -> how the families' config.json files write it."""


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a decoder of equal layers."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    """Of the feed-forward part's inner layer."""
    vocabulary: int
    tied: bool
    """Whether the output layer is the embedding."""
    parameters: int
    """Weights in the files, as `BaseModel` counts them."""

    @property
    def layer_weights(self) -> int:
        """Weights of one layer's matrices: query and output, key and value, and a gated feed-forward part's three."""
        attention = 2 * self.hidden * self.heads * self.head_dim + 2 * self.hidden * self.kv_heads * self.head_dim
        return attention + 3 * self.hidden * self.mlp

    def adapter_weights(self, rank: int) -> int:
        """Weights of a LoRA adapter on all of the layers' matrices, at most: each as if it had a head for each key."""
        return rank * self.layers * (4 * 2 * self.hidden + 3 * (self.hidden + self.mlp))


def shape_of_config(values: Mapping[str, Any], parameters: int) -> ModelShape | None:
    """The shape that a config.json, or what transformers made of it, describes; None where a size is missing.

    Older files leave out what has the usual value: a feed-forward part of 4 x hidden, a key head for each head, heads
    that divide the hidden size.
    """
    found: dict[str, Any] = {
        name: next((values[key] for key in known if values.get(key)), None) for name, known in SIZES.items()
    }
    hidden, layers, vocabulary = found["hidden_size"], found["num_hidden_layers"], found["vocab_size"]
    heads = found["num_attention_heads"]
    if not all(type(size) is int and size > 0 for size in (hidden, layers, vocabulary, heads)):
        return None
    return ModelShape(
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=_size(found["num_key_value_heads"], heads),
        head_dim=_size(found["head_dim"], max(1, hidden // heads)),
        mlp=_size(found["intermediate_size"], 4 * hidden),
        vocabulary=vocabulary,
        tied=bool(values.get("tie_word_embeddings", True)),
        parameters=parameters,
    )


def _size(value: Any, usual: int) -> int:
    """A size; some families list one for each layer, of which the largest is taken."""
    sizes = value if isinstance(value, list) else [value]
    return max((size for size in sizes if type(size) is int and size > 0), default=usual)


def shape_of_gguf(head: GgufHead) -> ModelShape | None:
    """The shape that a GGUF's head describes (keys of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""
    own = f"{head.architecture}."
    embedding = next((tensor for tensor in head.tensors if tensor.name == "token_embd.weight"), None)
    values = {
        "hidden_size": head.get(own + "embedding_length"),
        "num_hidden_layers": head.get(own + "block_count"),
        "num_attention_heads": head.get(own + "attention.head_count"),
        "num_key_value_heads": head.get(own + "attention.head_count_kv"),
        "head_dim": head.get(own + "attention.key_length"),
        "intermediate_size": head.get(own + "feed_forward_length"),
        "vocab_size": embedding.shape[0] if embedding else None,
        "tie_word_embeddings": not any(tensor.name == "output.weight" for tensor in head.tensors),
    }
    return shape_of_config(values, head.parameters)
