"""A model folder and a LoRA adapter of random numbers, in the shape of Qwen2.5-0.5B: what the export is measured with.

24 layers, width 896, 151,936 tokens, tied embeddings, bfloat16; rank 8 on all linear layers.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

LAYERS, WIDTH, INNER, HEADS, KEY_HEADS, VOCABULARY, RANK = 24, 896, 4864, 14, 2, 151936, 8
QUERIES, KEYS = HEADS * 64, KEY_HEADS * 64
LINEAR = {
    "self_attn.q_proj": (QUERIES, WIDTH), "self_attn.k_proj": (KEYS, WIDTH), "self_attn.v_proj": (KEYS, WIDTH),
    "self_attn.o_proj": (WIDTH, QUERIES), "mlp.gate_proj": (INNER, WIDTH), "mlp.up_proj": (INNER, WIDTH),
    "mlp.down_proj": (WIDTH, INNER),
}  # fmt: skip


def write_safetensors(path: Path, shapes: dict[str, tuple[int, ...]], dtype: str, scale: float) -> None:
    """Random normal weights (bfloat16 or float32), written one tensor at a time."""
    import numpy as np

    random = np.random.default_rng(0)
    header, at = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape)) * (2 if dtype == "BF16" else 4)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for shape in shapes.values():
            weights = random.standard_normal(shape, dtype=np.float32) * np.float32(scale)
            file.write((weights.view(np.uint32) >> 16).astype(np.uint16).data if dtype == "BF16" else weights.data)


def make_base(folder: Path) -> None:
    """The model folder."""
    folder.mkdir(parents=True)
    config = {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": WIDTH,
        "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_HEADS, "vocab_size": VOCABULARY, "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": True, "dtype": "bfloat16",
        "bos_token_id": VOCABULARY - 3, "eos_token_id": VOCABULARY - 1, "hidden_act": "silu",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCABULARY, WIDTH),
        "model.norm.weight": (WIDTH,),
    }
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for name, shape in LINEAR.items():
            shapes[f"{prefix}{name}.weight"] = shape
            if name[-6:] in ("q_proj", "k_proj", "v_proj"):
                shapes[f"{prefix}{name}.bias"] = shape[:1]
        shapes |= {prefix + n: (WIDTH,) for n in ("input_layernorm.weight", "post_attention_layernorm.weight")}
    write_safetensors(folder / "model.safetensors", shapes, "BF16", 0.02)
    make_tokenizer(folder)


def make_tokenizer(folder: Path, size: int = VOCABULARY) -> None:
    """A byte-level BPE of `size` tokens (by default as many as Qwen2's), split as Qwen2 splits."""
    from file_formats.pre_tokenizers import PRE_TOKENIZERS

    # the 256 characters that stand for bytes (GPT-2)
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = [chr(c) for c in seen] + [chr(256 + i) for i in range(256 - len(seen))]
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens, merges = dict.fromkeys(alphabet), []
    for first in [*alphabet, *(a + b for a in alphabet for b in alphabet)]:
        for second in alphabet:
            if len(tokens) + len(special) < size and first in tokens and first + second not in tokens:
                tokens[first + second] = None
                merges.append(f"{first} {second}")
    ids = {token: i for i, token in enumerate([*tokens, *special])}
    pattern = PRE_TOKENIZERS["qwen2"].splits[0]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    flags = dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word"), False) | {"special": True}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": {"type": "NFC"},
        "added_tokens": [{"id": ids[text], "content": text, **flags} for text in special],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": byte_level, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "vocab": {token: i for token, i in ids.items() if token not in special}, "merges": merges,
        },
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    config = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def make_adapter(folder: Path) -> None:
    """The LoRA adapter."""
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK, "target_modules": "all-linear"}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(LAYERS):
        for name, (outputs, inputs) in LINEAR.items():
            module = f"base_model.model.model.layers.{layer}.{name}"
            shapes[f"{module}.lora_A.weight"] = (RANK, inputs)
            shapes[f"{module}.lora_B.weight"] = (outputs, RANK)
    write_safetensors(folder / "adapter_model.safetensors", shapes, "F32", 0.02)
