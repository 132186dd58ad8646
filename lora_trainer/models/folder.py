"""A model folder in transformers' format, judged without loading its weights."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from file_formats.errors import BrokenFile
from file_formats.safetensors import INDEX, SafetensorsHead, read_head, weight_files
from lora_trainer.errors import BaseModelError
from lora_trainer.models.text_tower import is_of_text, is_wrapper, text_type

_CONFIGURATION = ("config.json", "tokenizer*", "vocab*", "merges.txt", "*.jinja", "*.tiktoken", "added_tokens.json",
                  "special_tokens_map.json")  # fmt: skip
LICENSES = ("LICENSE*", "LICENCE*", "COPYING*")
"""Names of the file that says what may be done with a model."""
_LAYERS = {"num_hidden_layers", "num_layers", "n_layer", "n_layers"}
_SAMPLE = 1 << 16
"""Bytes of each end of a weight file that go into the digest."""


@dataclass(frozen=True)
class ModelFolder:
    """What a folder holds."""

    architecture: str
    """transformers' name, e.g. "Qwen2ForCausalLM"."""
    parameters: int
    """Weights in its files; of a model that takes more than text, those of the text model within."""
    digest: str
    """sha256 over file names, sizes, headers and ends: a copy has the same, a model trained further has not."""


def check_folder(folder: Path) -> ModelFolder:
    """Raises BaseModelError where it isn't a whole model that we can train."""
    architecture = check_config(folder)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise BaseModelError("error.base_model.no_tokenizer", path=str(folder))
    digest = hashlib.sha256()
    heads: list[SafetensorsHead] = []
    for file in _weight_files(folder):
        head, sample = _safetensors(file)
        digest.update(f"{file.name} {file.stat().st_size} ".encode() + sample)
        heads.append(head)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors = sum(len(head.tensors) for head in heads)
    if is_wrapper(config):
        own = is_of_text(name for head in heads for name in head.tensors)
        sizes = (math.prod(entry.shape) for head in heads for name, entry in head.tensors.items() if name in own)
        parameters = sum(sizes)
    else:
        parameters = sum(head.parameters for head in heads)
    for name in _LAYERS & config.keys():
        check_layers(folder / "config.json", config[name], tensors)
    return ModelFolder(architecture, parameters, digest.hexdigest())


def check_layers(path: Path, layers: Any, tensors: int) -> None:
    """Raise BaseModelError for a number of layers that can't be the one of so many tensors.

    Whatever is made of such a configuration, be it a list of the layers' kinds, might fill the memory.
    """
    if type(layers) is not int or not 0 < layers <= tensors:
        reason = f"{layers!r:.40} layers, {tensors} tensors"
        raise BaseModelError("error.base_model.broken_config", path=str(path), reason=reason)


def weight_names(folder: Path) -> list[str]:
    """The names of all weights in a folder's files; raises BaseModelError where they aren't all there."""
    return [name for file in _weight_files(folder) for name in _safetensors(file)[0].tensors]


def configuration_files(folder: Path) -> dict[str, str]:
    """Name -> sha256 of the files beside the weights that say what a model computes: configuration and tokenizer."""
    found = {path for pattern in _CONFIGURATION for path in folder.glob(pattern) if path.is_file()}
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(found)}


def license_text(folder: Path) -> str | None:
    """The licence that lies in a model's folder; None where there is none, or none that is text."""
    for pattern in LICENSES:
        for path in sorted(folder.glob(pattern)):
            try:
                return path.read_text(encoding="utf-8-sig").strip() or None
            except (UnicodeDecodeError, OSError):  # a folder of licences, say
                continue
    return None


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
        name, model_type = str(names[0]), str(config.get("model_type", ""))
    except (ValueError, AttributeError, LookupError, TypeError, RecursionError) as error:
        raise BaseModelError("error.base_model.broken_config", path=str(config_file), reason=str(error)) from error
    if config.get("is_encoder_decoder"):
        raise BaseModelError("error.base_model.encoder_decoder", architecture=name)
    wrapper = is_wrapper(config)
    if wrapper and text_type(config) is None:
        raise BaseModelError("error.base_model.multimodal", architecture=name)
    quantization = config.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method", "?") if isinstance(quantization, dict) else "?"
        raise BaseModelError("error.base_model.quantized", method=method)

    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

    if name != KNOWN.get(model_type) and not wrapper:
        if "auto_map" in config or name.endswith("ForCausalLM"):
            raise BaseModelError("error.base_model.unknown_architecture", architecture=name)
        raise BaseModelError("error.base_model.not_causal", architecture=name)
    return name


def foreign_code(folder: Path, *configurations: str) -> list[str]:
    """The files of code that a model folder's `configurations` name as its own (`auto_map`): they are never run."""
    found: set[str] = set()
    for name in configurations or ("config.json", "tokenizer_config.json"):
        try:
            named = json.loads((folder / name).read_text(encoding="utf-8")).get("auto_map") or {}
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
        for value in named.values() if isinstance(named, dict) else [named]:
            for reference in value if isinstance(value, list) else [value]:
                if isinstance(reference, str):
                    # FILE.CLASS, or that of another repository: REPOSITORY--FILE.CLASS
                    found.add(reference.rpartition(".")[0].replace("--", "/") + ".py")
    return sorted(found)


def _adapter_base(folder: Path) -> str:
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        return str(config["base_model_name_or_path"])
    except (ValueError, LookupError, TypeError):
        return "?"


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers would load; raises BaseModelError where they aren't all there."""
    try:
        names = weight_files(folder)
    except BrokenFile as error:
        raise BaseModelError("error.base_model.incomplete", path=str(folder), file=INDEX) from error
    missing = [name for name in names if not (folder / name).is_file()]
    if not missing:
        return [folder / name for name in names]
    if not (folder / INDEX).is_file():
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
