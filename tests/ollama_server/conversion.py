"""Conversion at load, since 0.40 (server/compatmigrate): a GGUF in a layout of older Ollamas' own is written anew.

A load waits for it; then the model's manifest names the new file, and the old one goes where no other model has it.
Up to 0.40.2 it goes on in the background of the first answers. What is in such a layout is read off the head.
"""

from __future__ import annotations

from collections.abc import Callable

from .errors import ApiError
from .gguf_file import Gguf, raw_pair, write_gguf
from .go_template import GoRenderer
from .model import Model, load_model
from .store import MEDIA, Layer, Store

CONVERTED = "general.converted"
"""Stands in a GGUF that came out of a conversion, which is done once."""
ALWAYS = ("olmo3", "bert", "gptoss", "llama4")
LLAMA_3 = 128256
"""Tokens of its vocabulary."""
BASE_END = 128001
"""The end of text of the base models of Llama 3."""

IsLegacy = Callable[[Gguf], bool]


def is_legacy(gguf: Gguf) -> bool:
    """Whether a later Ollama converts it: of those that the program writes, hardly any."""
    tokenizer = "tokenizer.ggml."
    if gguf.architecture == "llama" and len(gguf.values.get(f"{tokenizer}tokens", ())) == LLAMA_3:
        names_none = gguf.values.get(f"{tokenizer}pre", "default") == "default"
        return names_none or gguf.values.get(f"{tokenizer}eos_token_id") == BASE_END
    return gguf.architecture in ALWAYS


def runner_of(model: Model, legacy: IsLegacy) -> str:
    """For which runner a model's file is."""
    return "ggml" if model.weights and _needs_it(model, legacy) else "llamacpp"


def converted(store: Store, go: GoRenderer, model: Model, legacy: IsLegacy) -> Model:
    """The model as it is loaded: converted, where it is in such a layout. Raises ApiError."""
    if not model.weights or not _needs_it(model, legacy):
        return model
    if model.adapters:
        raise ApiError("cannot convert legacy GGUF with adapter layer; re-pull a compatible model", 500)
    pairs = [*model.gguf.raw.values(), raw_pair(CONVERTED, True)]
    layer = store.add_layer(
        lambda out: write_gguf(pairs, model.gguf.tensors, out, alignment=model.gguf.alignment), MEDIA + "model"
    )
    with store.lock:
        manifest = store.manifest(model.name)
        layers = [layer if _is_weights(old) else old for old in manifest.layers]
        store.write_manifest(model.name, manifest.config, layers)
        store.remove_unused({old.digest for old in manifest.layers if _is_weights(old)})
    return load_model(store, model.name, go)


def _needs_it(model: Model, legacy: IsLegacy) -> bool:
    return CONVERTED not in model.gguf.values and legacy(model.gguf)


def _is_weights(layer: Layer) -> bool:
    return layer.media_type == MEDIA + "model"
