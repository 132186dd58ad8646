"""A model folder in transformers' format, judged without loading its weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from file_formats.errors import BrokenFile
from file_formats.safetensors import SafetensorsHead, read_head
from lora_trainer.errors import BaseModelError

_SAMPLE = 1 << 16
"""Bytes of each end of a weight file that go into the digest."""


@dataclass(frozen=True)
class ModelFolder:
    """What a folder holds."""

    architecture: str
    """transformers' name, e.g. "Qwen2ForCausalLM"."""
    parameters: int
    """Weights in its files."""
    digest: str
    """sha256 over file names, sizes, headers and ends: a copy has the same, a model trained further has not."""


def check_folder(folder: Path) -> ModelFolder:
    """Raises BaseModelError where it isn't a whole model that we can train."""
    architecture = check_config(folder)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise BaseModelError("error.base_model.no_tokenizer", path=str(folder))
    digest = hashlib.sha256()
    parameters = 0
    for file in _weight_files(folder):
        head, sample = _safetensors(file)
        digest.update(f"{file.name} {file.stat().st_size} ".encode() + sample)
        parameters += head.parameters
    return ModelFolder(architecture, parameters, digest.hexdigest())


def check_config(folder: Path) -> str:
    """The architecture that config.json names; raises BaseModelError where it's nothing that we can train."""
    config_file = folder / "config.json"
    if not config_file.is_file():
        if (folder / "adapter_config.json").is_file():
            raise BaseModelError("error.base_model.adapter", path=str(folder), base=_adapter_base(folder))
        raise BaseModelError("error.base_model.no_config", path=str(folder))
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
        names = config.get("architectures") or [""]
        name = str(names[0])
    except (ValueError, AttributeError, LookupError) as error:
        raise BaseModelError("error.base_model.broken_config", path=str(config_file), reason=str(error)) from error
    if config.get("is_encoder_decoder"):
        raise BaseModelError("error.base_model.encoder_decoder", architecture=name)
    if "vision_config" in config or "audio_config" in config:
        raise BaseModelError("error.base_model.multimodal", architecture=name)
    quantization = config.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method", "?") if isinstance(quantization, dict) else "?"
        raise BaseModelError("error.base_model.quantized", method=method)

    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

    if name != KNOWN.get(config.get("model_type", "")):
        if "auto_map" in config or name.endswith("ForCausalLM"):
            raise BaseModelError("error.base_model.unknown_architecture", architecture=name)
        raise BaseModelError("error.base_model.not_causal", architecture=name)
    return name


def _adapter_base(folder: Path) -> str:
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        return str(config["base_model_name_or_path"])
    except (ValueError, LookupError, TypeError):
        return "?"


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers would load; raises BaseModelError where they aren't all there."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, LookupError, AttributeError) as error:
            raise BaseModelError("error.base_model.incomplete", path=str(folder), file=index.name) from error
    else:
        names = ["model.safetensors"]
    missing = [name for name in names if not (folder / name).is_file()]
    if not missing:
        return [folder / name for name in names]
    if not index.is_file():
        if any(folder.glob("*.bin")) or any(folder.glob("*.pth")):
            raise BaseModelError("error.base_model.no_safetensors", path=str(folder))
        if ggufs := sorted(folder.glob("*.gguf")):
            raise BaseModelError("error.base_model.gguf_in_folder", path=str(folder), file=str(ggufs[0]))
    raise BaseModelError("error.base_model.incomplete", path=str(folder), file=missing[0])


def _safetensors(file: Path) -> tuple[SafetensorsHead, bytes]:
    """A safetensors file's head, and the bytes that its digest is made of: the header and the ends of the weights."""
    try:
        head = read_head(file)
    except BrokenFile as error:
        raise BaseModelError("error.base_model.incomplete", path=str(file.parent), file=file.name) from error
    with file.open("rb") as stream:
        stream.seek(head.size)
        first = stream.read(_SAMPLE)
        stream.seek(max(head.size, file.stat().st_size - _SAMPLE))
        return head, head.raw + first + stream.read()
