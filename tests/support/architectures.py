"""Architectures, and a tiny model of each: random weights, a small tokenizer that isn't the family's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 2048,
}  # fmt: skip
EXPERTS: dict[str, Any] = {
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1,
    "moe_intermediate_size": 64, "shared_expert_intermediate_size": 64, "first_k_dense_replace": 1, "n_group": 1,
    "topk_group": 1, "decoder_sparse_step": 1, "num_shared_experts": 1, "scoring_func": "sigmoid",
}  # fmt: skip
LATENT: dict[str, Any] = {
    "num_key_value_heads": 4, "kv_lora_rank": 32, "q_lora_rank": None, "qk_nope_head_dim": 16, "v_head_dim": 16,
    "qk_rope_head_dim": 8, "head_dim": 8,
}  # fmt: skip
"""Multi-head latent attention (DeepSeek-V2, 2024, arXiv:2405.04434)."""
SPACE: dict[str, Any] = {
    "mamba_n_heads": 4, "mamba_d_head": 32, "mamba_d_state": 16, "mamba_expand": 2, "mamba_n_groups": 1,
    "mamba_d_ssm": 128,
}  # fmt: skip
"""A layer of Mamba-2 (Dao and Gu, 2024, arXiv:2405.21060)."""
DELTA: dict[str, Any] = {
    "linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    "num_hidden_layers": 4, "head_dim": 32,
    "layer_types": ["linear_attention"] * 3 + ["full_attention"],
}  # fmt: skip
"""Three layers of a gated delta rule (Yang et al., 2024, arXiv:2412.06464), one of attention."""
WINDOW: dict[str, Any] = {"sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"]}
FOURTH: dict[str, Any] = {
    "num_hidden_layers": 4, "sliding_window": 64, "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
}  # fmt: skip
"""Every fourth layer without a window, as llama.cpp knows some families by heart."""

FAMILIES: dict[str, dict[str, Any]] = {
    "afmoe": EXPERTS | FOURTH | {"num_dense_layers": 1},
    "apertus": {},
    "arcee": {},
    "bamba": SPACE | {"attn_layer_indices": [1]},
    "bitnet": {},
    "bloom": {"n_head": 4, "n_layer": 2},
    "cohere": {},
    "cohere2": WINDOW | {"rotary_pct": 1.0},
    "cohere2_moe": EXPERTS | WINDOW | {"first_k_dense_replace": 0},
    "deepseek_v2": LATENT | EXPERTS | {"q_lora_rank": 32},
    "deepseek_v3": LATENT | EXPERTS | {"q_lora_rank": 32},
    "diffllama": {},
    "doge": {},
    "dots1": EXPERTS | {"num_key_value_heads": 4},
    "ernie4_5": {},
    "ernie4_5_moe": EXPERTS | {
        "moe_num_experts": 4, "moe_k": 2, "moe_layer_start_index": 1, "moe_num_shared_experts": 1,
    },
    "exaone4": FOURTH,
    "exaone_moe": EXPERTS | WINDOW | {"mlp_layer_types": ["dense", "sparse"]},
    "falcon": {"num_kv_heads": 2, "head_dim": None, "new_decoder_architecture": True},
    "falcon_h1": SPACE,
    "falcon_mamba": {"state_size": 8, "expand": 2, "time_step_rank": 4},
    "flex_olmo": EXPERTS,
    "gemma": {},
    "gemma2": WINDOW | {"query_pre_attn_scalar": 16},
    "gemma3_text": {"num_hidden_layers": 6, "sliding_window": 64, "query_pre_attn_scalar": 16},
    "gemma3n_text": {
        # llama.cpp knows by heart that the first twenty layers have keys of their own
        "num_hidden_layers": 30, "num_kv_shared_layers": 10, "sliding_window": 64, "hidden_size_per_layer_input": 256,
        "laurel_rank": 64, "intermediate_size": [128] * 30, "activation_sparsity_pattern": [0.0] * 30,
        "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * 6, "vocab_size_per_layer_input": None,
    },
    "gemma4_text": {
        "num_hidden_layers": 6, "sliding_window": 64, "hidden_size_per_layer_input": 0, "global_head_dim": 32,
        "vocab_size_per_layer_input": None,
    },
    "glm": {},
    "glm4": {},
    "glm4_moe": EXPERTS | {"use_qk_norm": True},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 2048},
    "gpt_bigcode": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 2048},
    "gpt_neox": {},
    "gpt_oss": EXPERTS | WINDOW | {"intermediate_size": 64},
    "gptj": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 2048, "rotary_dim": 16},
    "granite": {},
    "granitemoe": EXPERTS,
    "granitemoehybrid": SPACE | EXPERTS | {
        "layer_types": ["mamba", "attention"], "shared_intermediate_size": 64,
    },
    "granitemoeshared": EXPERTS | {"shared_intermediate_size": 64},
    "helium": {},
    "hunyuan_v1_dense": {},
    "hunyuan_v1_moe": EXPERTS | {"moe_topk": [2, 2], "num_shared_expert": [1, 1]},
    "internlm3": {},
    "jais2": {},
    "jamba": EXPERTS | {
        "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
        "mamba_d_state": 8, "mamba_dt_rank": 4, "use_mamba_kernels": False,
    },
    "laguna": EXPERTS | FOURTH,
    "lfm2": {
        "num_hidden_layers": 4, "layer_types": ["conv", "conv", "full_attention", "conv"], "full_attn_idxs": None,
        "block_auto_adjust_ff_dim": False,
    },
    "lfm2_moe": EXPERTS | {
        "num_hidden_layers": 4, "layer_types": ["conv", "conv", "full_attention", "conv"], "num_dense_layers": 2,
    },
    "llama": {},
    "llama4_text": EXPERTS | {
        "intermediate_size_mlp": 128, "interleave_moe_layer_step": 1, "attention_chunk_size": 512,
        "num_hidden_layers": 4,
    },
    "mamba": {"state_size": 8, "expand": 2, "time_step_rank": 4},
    "mamba2": {"state_size": 16, "expand": 2, "num_heads": 4, "head_dim": 32, "n_groups": 1},
    "mellum": FOURTH | EXPERTS,
    "minicpm3": LATENT | {"q_lora_rank": 32, "dim_model_base": 256},
    "minimax_m2": EXPERTS | {"rotary_dim": 16},
    "ministral3": {},
    "mistral": {"sliding_window": None},
    "mixtral": EXPERTS,
    "mpt": {"d_model": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 2048},
    "nanochat": {},
    "nemotron": {},
    "nemotron_h": {
        "mamba_num_heads": 4, "mamba_head_dim": 32, "ssm_state_size": 16, "n_groups": 1,
        "layers_block_type": ["mamba", "attention"], "hybrid_override_pattern": None,
    },
    "olmo": {"clip_qkv": 8.0},
    "olmo2": {},
    "olmo3": WINDOW,
    "olmoe": EXPERTS | {"num_key_value_heads": 4},
    "opt": {"ffn_dim": 128, "word_embed_proj_dim": 64},
    "persimmon": {},
    "phi": {"num_key_value_heads": 4, "intermediate_size": 256},
    "phi3": {"original_max_position_embeddings": 2048},
    "phimoe": EXPERTS,
    "qwen2": {},
    "qwen2_moe": EXPERTS,
    "qwen3": {},
    "qwen3_5_moe_text": DELTA | EXPERTS,
    "qwen3_5_text": DELTA,
    "qwen3_moe": EXPERTS,
    "qwen3_next": DELTA | EXPERTS,
    "rwkv": {"attention_hidden_size": 64},
    "seed_oss": {},
    "smollm3": {},
    "solar_open": EXPERTS,
    "stablelm": {},
    "starcoder2": {},
    "vaultgemma": WINDOW | {"query_pre_attn_scalar": 16},
    "youtu": LATENT | {"q_lora_rank": 32},
}  # fmt: skip
"""transformers' `model_type` -> its sizes beside SIZES; None takes one away."""
ON_THE_HUB: dict[str, dict[str, Any]] = {
    "gpt_neox": {"rotary_pct": 0.25},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "nemotron_h": {"layers_block_type": ["mamba", "attention"]},
}
"""What the families' own config.json files have, and newer versions of transformers write otherwise."""
WRAPPERS: dict[str, str] = {
    "gemma3": "gemma3_text",
    "gemma4": "gemma4_text",
    "llava": "llama",
    "minicpmv4_6": "qwen3_5_text",
    "mistral3": "ministral3",
    "qwen2_5_vl": "qwen2_5_vl_text",
    "qwen2_audio": "qwen2",
    "qwen2_vl": "qwen2_vl_text",
    "qwen3_5": "qwen3_5_text",
    "qwen3_vl": "qwen3_vl_text",
    "voxtral": "llama",
}
"""Models that take images or sound as well -> the type of the text model within."""
_TOKENIZERS = {
    "gemma3": (
        "gemma", "gemma2", "gemma3", "gemma3_text", "gemma3n_text", "gemma4", "gemma4_text", "vaultgemma",
    ),
    "glm4": ("glm", "glm4", "glm4_moe"),
    "phi3": ("phi3", "ernie4_5", "ernie4_5_moe", "minicpm3", "nemotron"),
}  # fmt: skip
"""Family of tokenizer -> types that have one of its kind, as the converter needs it; the others have Qwen2's."""
_OTHERS_SIZES = {
    "depth": 1, "num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 64, "num_heads": 2, "embed_dim": 64,
    "num_attention_heads": 2, "encoder_layers": 1, "d_model": 64, "encoder_attention_heads": 2, "encoder_ffn_dim": 64,
    "fullatt_block_indexes": [0], "deepstack_visual_indexes": [0], "head_dim": 32,
}  # fmt: skip
"""Of the part of a wrapper that sees or hears."""


def make(model_type: str, folder: Path, tokenizer: Path | None = None) -> Any:
    """Write a tiny random model of an architecture, float32, with the files of `tokenizer`, or a small one of Qwen2's
    or another family's style.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMultimodalLM

    own = _borrowed(model_type, folder) if tokenizer is None else _given(tokenizer, folder)
    wrapped = WRAPPERS.get(model_type)
    if wrapped is None:
        config = AutoConfig.for_model(model_type, **own, **sizes_of(model_type, own["vocab_size"]))
        maker: Any = AutoModelForCausalLM
    else:
        config, maker = _wrapper(model_type, wrapped, own), AutoModelForMultimodalLM
    torch.manual_seed(0)
    model = maker.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, 0.15)
    model.save_pretrained(folder)
    file = folder / "config.json"
    values = json.loads(file.read_text(encoding="utf-8")) | ON_THE_HUB.get(model_type, {})
    file.write_text(json.dumps(values), encoding="utf-8")
    return model


def _borrowed(model_type: str, folder: Path) -> dict[str, int]:
    """Write a small tokenizer; what a configuration says of it."""
    from tests.support.tiny import TOKENIZERS, write_tokenizer

    family = next((family for family, types in _TOKENIZERS.items() if model_type in types), "qwen2")
    vocabulary = write_tokenizer(folder, family).get_vocab()
    return {
        # Gemma's has no room to spare
        "vocab_size": len(vocabulary) if family == "gemma3" else -(-len(vocabulary) // 64) * 64,
        "bos_token_id": vocabulary.get(TOKENIZERS[family][2] or "", 0),
        "eos_token_id": vocabulary[TOKENIZERS[family][3]],
        "pad_token_id": 0,
    }


def _given(tokenizer: Path, folder: Path) -> dict[str, int]:
    """The same of a family's own tokenizer files, which are copied."""
    from transformers import AutoTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    for file in tokenizer.glob("tokenizer*"):
        shutil.copyfile(file, folder / file.name)
    own = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    size = max(own.get_vocab().values()) + 1
    return {
        "vocab_size": size,
        "bos_token_id": own.bos_token_id or 0,
        "eos_token_id": own.eos_token_id,
        "pad_token_id": own.pad_token_id or 0,
    }


def sizes_of(model_type: str, vocabulary: int) -> dict[str, Any]:
    """The sizes of a tiny model of this type."""
    own = FAMILIES.get(model_type, {})
    sizes = {name: value for name, value in {**SIZES, **own}.items() if value is not None or name == "q_lora_rank"}
    if "vocab_size_per_layer_input" in own:
        sizes["vocab_size_per_layer_input"] = vocabulary
    return sizes


def _wrapper(model_type: str, wrapped: str, own: dict[str, int]) -> Any:
    from transformers import AutoConfig

    text = sizes_of(wrapped, own["vocab_size"])
    if wrapped.endswith("vl_text"):
        text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}
    config = AutoConfig.for_model(model_type, text_config={"model_type": wrapped, **own, **text}, **own)
    for name in dir(config):
        # placeholders for what is seen have to be tokens
        if name.endswith(("_token_id", "_token_index")) and isinstance(at := getattr(config, name), int):
            setattr(config, name, min(at, own["vocab_size"] - 1))
    for part in ("vision_config", "audio_config"):
        if (other := getattr(config, part, None)) is not None:
            for name, value in _OTHERS_SIZES.items():
                if hasattr(other, name):
                    setattr(other, name, value)
            if hasattr(other, "out_hidden_size"):
                other.out_hidden_size = text["hidden_size"]
    return config
