"""A base model's configuration, tokenizer, weights and chat format, as transformers loads them."""

from __future__ import annotations

import copy
from functools import lru_cache
from pathlib import Path
from typing import Any

from file_formats.gguf import read_head
from lora_trainer.chat_format import ChatFormat, find_chat_format
from lora_trainer.errors import BaseModelError
from lora_trainer.models.gguf_reader import quicken_reader
from lora_trainer.models.quantization import keep_gradients, quantization
from lora_trainer.models.source import BaseModel


def load_config(base: BaseModel) -> Any:
    """transformers' configuration of the base model; the caller's own to change."""
    return copy.deepcopy(_config(base))


@lru_cache(maxsize=4)
def _config(base: BaseModel) -> Any:
    from transformers import AutoConfig, LlamaConfig

    silence_libraries()
    if base.kind == "folder":
        return AutoConfig.from_pretrained(base.path, local_files_only=True, trust_remote_code=False)
    quicken_reader()
    config = AutoConfig.from_pretrained(base.path.parent, gguf_file=base.path.name, local_files_only=True)
    if config.model_type == "mistral" and base.architecture == "llama":
        # told apart by its name there, whose tensors it then doesn't find; to llama.cpp it is a Llama
        config = LlamaConfig(**{**config.to_dict(), "model_type": "llama", "architectures": ["LlamaForCausalLM"]})
    # what transformers doesn't read for every architecture
    gguf = read_head(base.path)
    head = gguf.get(f"{base.architecture}.attention.key_length")
    if head and hasattr(config, "head_dim"):
        config.head_dim = head
    if head and hasattr(config, "query_pre_attn_scalar"):
        # not in the file; llama.cpp too knows Gemma's two exceptions by their number of layers
        exception = config.num_hidden_layers in (46, 62)
        config.query_pre_attn_scalar = config.hidden_size // config.num_attention_heads if exception else head
    window = gguf.get(f"{base.architecture}.attention.sliding_window")
    if window and getattr(config, "sliding_window", None):
        config.sliding_window = window
    return config


def load_tokenizer(base: BaseModel) -> Any:
    """The base model's tokenizer, cutting text as llama.cpp will when the model is served.

    llama.cpp doesn't normalise text before it cuts it, so the NFC step that Qwen's tokenizer has is left out.
    """
    silence_libraries()
    if base.kind == "gguf":
        from lora_trainer.models.gguf_tokenizer import build_tokenizer

        return build_tokenizer(read_head(base.path))
    from tokenizers import normalizers
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(base.path, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, ImportError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0][:300] or type(error).__name__
        key = "error.base_model.tokenizer_package" if isinstance(error, ImportError) else "error.base_model.tokenizer"
        raise BaseModelError(key, path=str(base.path), reason=reason) from error
    if isinstance(tokenizer.backend_tokenizer.normalizer, normalizers.NFC):
        tokenizer.backend_tokenizer.normalizer = None
    return tokenizer


def load_model(base: BaseModel, device: str, dtype: str, *, four_bits: bool = False) -> Any:
    """The base model's weights on `device` ("cpu", "cuda:0", …) as `dtype` ("float32", "bfloat16", …).

    `four_bits`: those of the linear layers but the output layer as NF4, computing in `dtype`; not of a GGUF.
    """
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig, modeling_gguf_pytorch_utils

    silence_libraries()
    options: dict[str, Any] = {"dtype": getattr(torch, dtype), "local_files_only": True, "config": load_config(base)}
    if base.kind == "gguf":
        options |= {"gguf_file": base.path.name, "quantization_config": GgufConfig(dequantize=True)}
        # this bar of theirs has no switch
        modeling_gguf_pytorch_utils.tqdm = lambda tensors, **_: tensors
    if four_bits:
        options |= {"quantization_config": quantization(dtype), "device_map": {"": device}}
    elif device.startswith("cuda") and base.kind == "folder":
        # straight from the files: main memory needn't hold the model
        options["device_map"] = {"": device}
    folder = base.path if base.kind == "folder" else base.path.parent
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False, **options)
    if base.kind == "gguf":
        _apply_rope_factors(model, base.path)
    if four_bits:
        keep_gradients(model)
    # the weights may be for others to fill in, see transformers' `is_fsdp_enabled`
    return model if device == "cpu" else model.to(device)


def _apply_rope_factors(model: Any, path: Path) -> None:
    """Llama 3's stretched rotary frequencies, which a GGUF holds as a tensor that transformers passes over."""
    if not any(tensor.name == "rope_freqs.weight" for tensor in read_head(path).tensors):
        return
    import gguf
    import torch

    factors = next(tensor.data for tensor in gguf.GGUFReader(path).tensors if tensor.name == "rope_freqs.weight")
    for module in model.modules():
        for name in ("inv_freq", "original_inv_freq"):
            if isinstance(frequencies := getattr(module, name, None), torch.Tensor):
                frequencies /= torch.tensor(factors)


def chat_template_of(base: BaseModel, tokenizer: Any) -> str:
    """The Jinja source of the base model's chat template; raises BaseModelError where it has none."""
    template = tokenizer.chat_template
    if isinstance(template, list):
        template = {entry["name"]: entry["template"] for entry in template}
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise BaseModelError("error.base_model.no_chat_template", source=base.source)
    return str(template)


def chat_format_of(base: BaseModel, tokenizer: Any) -> ChatFormat:
    """How this base model writes a conversation; raises BaseModelError where that can't be found out."""
    adds_bos = tokenizer.bos_token_id is not None and tokenizer("a").input_ids[0] == tokenizer.bos_token_id
    special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    return find_chat_format(
        chat_template_of(base, tokenizer),
        bos=tokenizer.bos_token or "",
        eos=tokenizer.eos_token or "",
        tokenizer_adds_bos=adds_bos,
        special_tokens=special,
    )


def silence_libraries() -> None:
    """Let transformers, datasets and the hub draw and print nothing: whoever listens to the events does."""
    import logging
    import warnings

    import datasets
    import huggingface_hub.utils
    import transformers

    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    huggingface_hub.utils.disable_progress_bars()
    # PEFT imports it wherever it is installed
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
