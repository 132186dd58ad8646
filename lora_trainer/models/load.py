"""A base model's configuration, tokenizer, weights and chat format, as transformers loads them."""

from __future__ import annotations

import copy
import json
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from file_formats.gguf import read_head
from lora_trainer.chat_format import ChatFormat, find_chat_format
from lora_trainer.errors import BaseModelError
from lora_trainer.models.folder import foreign_code, weight_names
from lora_trainer.models.gguf_reader import quicken_reader
from lora_trainer.models.quantization import keep_gradients, quantization
from lora_trainer.models.source import BaseModel
from lora_trainer.models.text_tower import is_wrapper, renamed, sees_or_hears, text_config


def load_config(base: BaseModel) -> Any:
    """transformers' configuration of the base model; the caller's own to change.

    Raises BaseModelError where it is none.
    """
    return copy.deepcopy(_config(base))


@lru_cache(maxsize=4)
def _config(base: BaseModel) -> Any:
    from transformers import AutoConfig, LlamaConfig

    silence_libraries()
    folder, options = _where(base)
    try:
        config = AutoConfig.from_pretrained(folder, **options)
    except Exception as error:  # every family checks its own values in its own way
        raise _broken_config(base, error) from error
    if base.kind == "folder":
        if is_wrapper(_values(base)):
            config = text_config(config, weight_names(base.path))
        # a name of a kernel there would have code fetched from the hub
        config._attn_implementation = config._experts_implementation = None
        return config
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


def takes_more_than_text(base: BaseModel) -> bool:
    """Whether a base model takes images or sound as well, of which nothing is trained or published."""
    return sees_or_hears(_values(base))


def _values(base: BaseModel) -> dict[str, Any]:
    """A folder's config.json as it stands there; nothing of a GGUF."""
    if base.kind != "folder":
        return {}
    values: dict[str, Any] = json.loads((base.path / "config.json").read_text(encoding="utf-8"))
    return values


def _where(base: BaseModel) -> tuple[Path, dict[str, Any]]:
    """What transformers' loaders are to read, and nothing else."""
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if base.kind == "folder":
        return base.path, options
    quicken_reader()
    return base.path.parent, options | {"gguf_file": base.path.name}


def _broken_config(base: BaseModel, error: Exception) -> BaseModelError:
    path = base.path / "config.json" if base.kind == "folder" else base.path
    return BaseModelError("error.base_model.broken_config", path=str(path), reason=shortened(error))


def shortened(error: Exception) -> str:
    """What a library's error says, as one line that fits a message."""
    said = " ".join(str(error).split())[:300]
    # a missing key says only itself
    return f"{type(error).__name__}: {said}" if isinstance(error, LookupError) or not said else said


def empty_model(base: BaseModel) -> Any:
    """The base model without its weights; raises BaseModelError where its configuration describes none."""
    import torch
    from transformers import AutoModelForCausalLM

    config = load_config(base)
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # any value may be one that no layer can be made of
        raise _broken_config(base, error) from error


def check_weights(base: BaseModel, model: Any = None) -> None:
    """Raise BaseModelError where the configuration describes a model (`model`, where it is made) of more weights than
    its files hold.
    """
    needed = sum(weight.numel() for weight in (empty_model(base) if model is None else model).parameters())
    if needed > base.parameters:
        values = {"path": str(base.path), "needed": needed, "found": base.parameters}
        raise BaseModelError("error.base_model.too_few_weights", **values)


def load_tokenizer(base: BaseModel) -> Any:
    """The base model's tokenizer, cutting text as llama.cpp will when the model is served.

    llama.cpp doesn't normalise text before it cuts it, so the NFC step that Qwen's tokenizer has is left out.
    Raises BaseModelError where it can't be opened, or a GGUF's can't be built exactly.
    """
    silence_libraries()
    from tokenizers import normalizers
    from transformers import AutoTokenizer

    from lora_trainer.models.gguf_tokenizer import build_tokenizer

    try:
        if base.kind == "gguf":
            return build_tokenizer(read_head(base.path))
        tokenizer = AutoTokenizer.from_pretrained(base.path, local_files_only=True, trust_remote_code=False)
        fast = getattr(tokenizer, "backend_tokenizer", None)
        # a matter of the plan, not of the tokenizer; what stands there may be anything
        tokenizer.model_max_length = sys.maxsize
        tokenizer("a")
    except BaseModelError:
        raise
    except Exception as error:  # every family reads its own files in its own way
        values = {"path": str(base.path), "reason": shortened(error)}
        if code := foreign_code(base.path, "tokenizer_config.json"):
            raise BaseModelError("error.base_model.foreign_tokenizer", code=", ".join(code), **values) from error
        if isinstance(error, ImportError):
            raise BaseModelError("error.base_model.tokenizer_package", **values) from error
        raise BaseModelError("error.base_model.tokenizer", **values) from error
    # one that is written in Python has no such step
    if fast is not None and isinstance(fast.normalizer, normalizers.NFC):
        fast.normalizer = None
    return tokenizer


def load_model(base: BaseModel, device: str, dtype: str, *, four_bits: bool = False) -> Any:
    """The base model's weights on `device` ("cpu", "cuda:0", …) as `dtype` ("float32", "bfloat16", …).

    `four_bits`: those of the linear layers but the output layer as NF4, computing in `dtype`; not of a GGUF.
    Raises BaseModelError where some are missing or of another shape, RuntimeError where memory runs out.
    """
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig, modeling_gguf_pytorch_utils

    silence_libraries()
    folder, options = _where(base)
    options |= {"dtype": getattr(torch, dtype), "config": load_config(base)}
    # an adapter that lies beside the weights is none of the base model's
    options["adapter_kwargs"] = {"subfolder": "none"}
    # told below, by name: left to itself it would only warn, and put random numbers where weights are missing
    options |= {"ignore_mismatched_sizes": True, "output_loading_info": True}
    if is_wrapper(_values(base)):
        options["key_mapping"] = renamed(weight_names(base.path))
    if base.kind == "gguf":
        options["quantization_config"] = GgufConfig(dequantize=True)
        # this bar of theirs has no switch
        modeling_gguf_pytorch_utils.tqdm = lambda tensors, **_: tensors
    if four_bits:
        options |= {"quantization_config": quantization(dtype), "device_map": {"": device}}
    elif device.startswith("cuda") and base.kind == "folder":
        # straight from the files: main memory needn't hold the model
        options["device_map"] = {"": device}
    model, told = AutoModelForCausalLM.from_pretrained(folder, **options)
    mismatched = [name for name, *_ in told["mismatched_keys"]]
    if wrong := sorted({*told["missing_keys"], *mismatched}):
        values = {"path": str(base.path), "count": len(wrong), "names": ", ".join(wrong[:3])}
        raise BaseModelError("error.base_model.weights_missing", **values)
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


def chat_format_of(base: BaseModel, tokenizer: Any, *, thoughts: bool = False) -> ChatFormat:
    """How this base model writes a conversation, and with `thoughts` what it thinks before an answer.

    Raises BaseModelError where that can't be found out.
    """
    adds_bos = tokenizer.bos_token_id is not None and tokenizer("a").input_ids[0] == tokenizer.bos_token_id
    special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    return find_chat_format(
        chat_template_of(base, tokenizer),
        bos=tokenizer.bos_token or "",
        eos=tokenizer.eos_token or "",
        tokenizer_adds_bos=adds_bos,
        special_tokens=special,
        ends=_ends(base, tokenizer),
        thoughts=thoughts,
    )


def _ends(base: BaseModel, tokenizer: Any) -> list[str]:
    """The special tokens at which the family's generation stops, as its files list them."""
    if base.kind == "gguf":
        head = read_head(base.path)
        ids = [head.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
        ids += head.get("tokenizer.ggml.eos_token_ids", [])
    else:
        ids = []
        for file in ("generation_config.json", "config.json"):
            try:
                listed = json.loads((base.path / file).read_text(encoding="utf-8")).get("eos_token_id")
            except (OSError, ValueError, AttributeError):  # many folders have no generation_config.json
                continue
            ids += listed if isinstance(listed, list) else [listed]
    special = {number: str(token) for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return list(dict.fromkeys(special[number] for number in ids if type(number) is int and number in special))


def check_vocabulary(base: BaseModel, tokenizer: Any, chat_format: ChatFormat) -> None:
    """Raise BaseModelError where there are tokens without a row of the embedding that the model would need.

    Where llama.cpp's converter reads a tokenizer.model it passes over (for nearly all families) what was added behind
    it; so those tokens alone matter there that conversations are written with.
    """
    rows = embedding_rows(base)
    without = sorted(token for token, index in tokenizer.get_vocab().items() if index >= rows)
    if (base.path / "tokenizer.model").is_file():
        written = "".join(value for value in chat_format.to_json().values() if isinstance(value, str))
        without = [token for token in without if token in written]
    if without:
        values = {"source": base.source, "tokens": len(tokenizer), "rows": rows, "without": " ".join(without[:5])}
        raise BaseModelError("error.base_model.too_many_tokens", **values)


def embedding_rows(base: BaseModel) -> int:
    """How many tokens the base model has weights for."""
    if base.kind == "folder":
        return int(load_config(base).get_text_config().vocab_size)
    name = "token_embd.weight"
    shape = next((tensor.shape for tensor in read_head(base.path).tensors if tensor.name == name), ())
    if len(shape) != 2:
        raise BaseModelError("error.base_model.weights_missing", path=str(base.path), count=1, names=name)
    return shape[0]


def silence_libraries() -> None:
    """Let transformers, datasets and the hub draw and print nothing: whoever listens to the events does."""
    import logging
    import warnings

    import huggingface_hub.utils
    import transformers

    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    huggingface_hub.utils.disable_progress_bars()
    with suppress(ImportError):  # what has its rows from elsewhere (bench.gpu) runs without it
        import datasets

        datasets.disable_progress_bars()
    # PEFT imports it wherever it is installed
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
