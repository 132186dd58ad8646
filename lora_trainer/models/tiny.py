"""A tiny model of a base model's kind: same architecture, real tokenizer, random weights; for a rehearsal."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora_trainer.errors import BaseModelError, as_memory_error
from lora_trainer.models.gguf_reader import quicken_reader
from lora_trainer.models.load import load_config, silence_libraries
from lora_trainer.models.source import BaseModel, resolve_base_model

HIDDEN, HEAD, HEADS, MLP = 64, 32, 2, 128
_LOUD = 100
"""How much larger than other weights the embedding is: whatever the layers add to it, it outweighs."""
_TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges.txt", "*.jinja", "special_tokens_map.json", "added_tokens.json",
                    "generation_config.json", "*.tiktoken")  # fmt: skip


def make_tiny_model(base: BaseModel, folder: Path) -> BaseModel | None:
    """Write one (some 20 MB, most of it the embedding) into `folder`; None where this architecture has none.

    Raises what `load_config` raises, ResourceError where memory ran out, and where the disk is full what
    `errors.as_disk_error` knows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if base.kind == "gguf":
        try:
            return _tiny_gguf(base, folder / "tiny.gguf")
        except (BaseModelError, ValueError, LookupError, TypeError):  # what was cut doesn't fit together
            return None
    silence_libraries()
    import torch
    from transformers import AutoModelForCausalLM

    config = load_config(base)
    try:
        _shrink(config)
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float16, trust_remote_code=False)
        _repeat_last_token(model)
        model(torch.tensor([[0, 1, 2]]))
    except Exception as error:
        if lack := as_memory_error(error):
            raise lack from error
        return None  # any architecture may have constraints of its own; the caller says that there is no rehearsal
    model.save_pretrained(folder)
    for pattern in _TOKENIZER_FILES:
        for file in base.path.glob(pattern):
            shutil.copyfile(file, folder / file.name)
    try:
        return replace(resolve_base_model(str(folder)), source=base.source)
    except BaseModelError:
        return None


def _repeat_last_token(model: Any) -> None:
    """Make the prompt's last token the likeliest next one: it is text, and not half a character, at which servers break
    an answer off. The output layer is the embedding.
    """
    import torch

    given, wanted = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    with torch.no_grad():
        given *= _LOUD
        if wanted.shape == given.shape:
            wanted.copy_(given)


def _shrink(config: Any) -> None:
    """Cut a configuration to a few small layers, keeping what its parts demand of each other."""
    layers = config.num_hidden_layers
    kinds = list(getattr(config, "layer_types", None) or [])
    # as many as show every kind of layer in the order that llama.cpp expects, two at least
    kept = max(2, *(1 + kinds.index(kind) for kind in kinds)) if kinds else 2
    old_head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    grouped = getattr(config, "num_key_value_heads", None) not in (None, config.num_attention_heads)
    for name, value in list(vars(config).items()):
        if isinstance(value, list) and len(value) == layers:
            setattr(config, name, value[:kept])
    config.num_hidden_layers = min(kept, layers)
    config.hidden_size, config.intermediate_size = HIDDEN, MLP
    config.num_attention_heads = HEADS
    if hasattr(config, "num_key_value_heads"):
        config.num_key_value_heads = 1 if grouped else HEADS
    if hasattr(config, "head_dim"):
        config.head_dim = HEAD
    for rope in _ropes(config):
        for name in ("short_factor", "long_factor"):
            if name in rope:
                rope[name] = rope[name][: len(rope[name]) * HEAD // old_head]
    for name, most in _MOST.items():
        if isinstance(value := getattr(config, name, None), int):
            setattr(config, name, min(value, most))


_MOST = {
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": MLP,
    "shared_expert_intermediate_size": MLP,
}


def _ropes(config: Any) -> list[dict[str, Any]]:
    rope = getattr(config, "rope_parameters", None) or {}
    return [rope, *(part for part in rope.values() if isinstance(part, dict))]


def _tiny_gguf(base: BaseModel, out: Path) -> BaseModel | None:
    """All metadata of the base GGUF with its sizes cut, and random tensors under the same names."""
    import gguf
    import numpy

    quicken_reader()
    reader = gguf.GGUFReader(base.path)
    arch = base.architecture

    def number(key: str, default: int = 0) -> int:
        field = reader.get_field(f"{arch}.{key}")
        value = field.contents() if field else default
        return value if isinstance(value, int) else 0

    hidden, heads, mlp = number("embedding_length"), number("attention.head_count"), number("feed_forward_length")
    heads_kv = number("attention.head_count_kv", heads)
    # sizes that differ from layer to layer, and experts, are not for a tiny model
    if not (hidden and heads and mlp and heads_kv) or number("expert_count"):
        return None
    head = number("attention.key_length", hidden // heads)
    layers = min(2, number("block_count"))
    new_kv = HEADS if heads_kv == heads else 1
    cut = {
        "block_count": layers,
        "embedding_length": HIDDEN,
        "feed_forward_length": MLP,
        "attention.head_count": HEADS,
        "attention.head_count_kv": new_kv,
        "attention.key_length": HEAD,
        "attention.value_length": HEAD,
        "rope.dimension_count": HEAD,
    }
    sizes = {
        head // 2: HEAD // 2,
        head: HEAD,
        heads_kv * head: new_kv * HEAD,
        heads * head: HEADS * HEAD,
        (heads + 2 * heads_kv) * head: (HEADS + 2 * new_kv) * HEAD,
        hidden: HIDDEN,
        mlp: MLP,
        2 * mlp: 2 * MLP,
    }
    writer = gguf.GGUFWriter(out, arch)
    for key, field in reader.fields.items():
        name = key.removeprefix(f"{arch}.")
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        value = cut[name] if name in cut and key != name else field.contents()
        if isinstance(value, list) and len(value) == number("block_count"):
            value = value[:layers]
        writer.add_key_value(key, value, field.types[0], field.types[-1] if len(field.types) > 1 else None)
    random = numpy.random.default_rng(0)
    vocabulary = len(reader.fields["tokenizer.ggml.tokens"].data)
    for tensor in reader.tensors:
        parts = tensor.name.split(".")
        if parts[0] == "blk" and int(parts[1]) >= layers:
            continue
        shape = [int(n) for n in reversed(tensor.shape)]
        new = [n if n >= vocabulary else sizes.get(n, n) for n in shape]
        if parts[0] in ("token_embd", "output"):
            # as in _repeat_last_token
            weights = numpy.random.default_rng(1).normal(0, 0.02 * _LOUD, new).astype(numpy.float16)
        elif len(new) > 1:
            weights = random.normal(0, 0.02, new).astype(numpy.float16)
        else:
            weights = numpy.ones(new, numpy.float32) if parts[-1] == "weight" else numpy.zeros(new, numpy.float32)
        writer.add_tensor(tensor.name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return replace(resolve_base_model(str(out)), source=base.source)
