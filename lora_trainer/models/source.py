"""Where a base model comes from (hub, ModelScope, folder, GGUF file, Ollama model), and what can be trained."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from file_formats.errors import BrokenFile
from file_formats.gguf import GgufHead, read_head
from lora_trainer.errors import BaseModelError
from lora_trainer.events import Listener, ignore
from lora_trainer.models.folder import check_config, check_folder, check_layers

_HUB_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?", re.ASCII)


@dataclass(frozen=True)
class BaseModel:
    """A base model on this machine, checked as far as that goes without loading its weights."""

    source: str
    """As the user wrote it; a path is absolute, so that it means the same from everywhere."""
    kind: Literal["folder", "gguf"]
    path: Path
    """Folder with config.json and safetensors, or the GGUF file."""
    revision: str
    """The hub's commit, or a sha256: of the GGUF file, or of a folder's file names, sizes, headers and file ends."""
    architecture: str
    """transformers' name, e.g. "Qwen2ForCausalLM"; of a GGUF llama.cpp's, e.g. "qwen2"."""
    parameters: int
    """Weights in the files."""


def resolve_base_model(
    source: str, *, listener: Listener = ignore, ollama_blob: Callable[[str], Path] | None = None
) -> BaseModel:
    """Find (or download) and check a base model.

    `source`: a hub id, `modelscope:ID`, a folder, a GGUF file or `ollama:NAME` (whose file `ollama_blob` finds).
    Raises BaseModelError with the next step to take for every way in which that fails, ResourceError where the disk is
    full.
    """
    from lora_trainer.models import hub

    if source.startswith("ollama:") and ollama_blob:
        return model_in_file(source, ollama_blob(source.removeprefix("ollama:")))
    if source.startswith("modelscope:"):
        return model_in_folder(source, hub.download_from_modelscope(source.removeprefix("modelscope:")), None)
    path = Path(source).expanduser()
    if path.is_dir():
        return model_in_folder(absolute_source(source), path, None)
    if path.is_file():
        return model_in_file(absolute_source(source), path)
    check_hub_id(source)
    folder, commit = hub.download(source, check_config, listener)
    return model_in_folder(source, folder, commit)


def look_for_base_model(
    source: str, *, revision: str | None = None, ollama_blob: Callable[[str], Path] | None = None
) -> None:
    """Raise as `resolve_base_model` where there is no such base model, and download none.

    A hub model, at commit `revision` where that is given, is judged by its configuration; of ModelScope's models
    nothing is known before they are downloaded.
    """
    from lora_trainer.models import hub

    if source.startswith("modelscope:"):
        return
    path = Path(source).expanduser()
    if source.startswith("ollama:") and ollama_blob:
        _check_file(ollama_blob(source.removeprefix("ollama:")))
    elif path.is_dir():
        check_folder(path)
    elif path.exists():
        _check_file(path)
    else:
        check_hub_id(source)
        hub.look_at(source, check_config, revision)


def absolute_source(source: str) -> str:
    """A base model's source as it means the same from everywhere: a path absolute, all else as it is."""
    path = Path(source).expanduser()
    return str(path.absolute()) if path.exists() else source


def check_hub_id(source: str) -> None:
    """Raise BaseModelError for a path that isn't there, which is never looked up on the hub."""
    if not _HUB_ID.fullmatch(source) or source.lower().endswith(".gguf") or source.startswith("."):
        raise BaseModelError("error.base_model.no_such_path", source=source)
    first, _, rest = source.partition("/")
    if rest and Path(first).is_dir():
        raise BaseModelError("error.base_model.not_in_folder", source=source, folder=str(Path(first).absolute()))


def model_in_folder(source: str, folder: Path, commit: str | None) -> BaseModel:
    """The model in a folder, which is the hub's at `commit` where that is given; raises BaseModelError."""
    found = check_folder(folder)
    return BaseModel(source, "folder", folder, commit or found.digest, found.architecture, found.parameters)


def model_in_file(source: str, path: Path) -> BaseModel:
    """The model in a GGUF file; raises BaseModelError."""
    head = _check_file(path)
    # Ollama names a blob after its digest
    named = re.fullmatch(r"sha256-([0-9a-f]{64})", path.name)
    if named:
        revision = named[1]
    else:
        with path.open("rb") as file:
            revision = hashlib.file_digest(file, "sha256").hexdigest()
    return BaseModel(source, "gguf", path, revision, head.architecture, head.parameters)


def _check_file(path: Path) -> GgufHead:
    """The head of a GGUF file that can be trained on; its weights aren't read. Raises BaseModelError."""
    try:
        head = read_head(path)
    except (BrokenFile, OSError) as error:
        reason = error.reason if isinstance(error, BrokenFile) else str(error)
        raise BaseModelError("error.base_model.not_gguf", path=str(path), reason=reason) from error
    if head.get("split.count", 1) > 1:
        raise BaseModelError("error.base_model.gguf_split", path=str(path))
    if not _reads_gguf(head.architecture):
        raise BaseModelError("error.base_model.gguf_architecture", architecture=head.architecture)
    check_layers(path, head.get(f"{head.architecture}.block_count"), len(head.tensors))
    scaling = head.get(f"{head.architecture}.rope.scaling.type", "none")
    if scaling != "none" or any(tensor.name.startswith("rope_factors_") for tensor in head.tensors):
        raise BaseModelError("error.base_model.gguf_rope", path=str(path), scaling=scaling)
    return head


def _reads_gguf(architecture: str) -> bool:
    """Whether transformers turns GGUF files of this architecture (llama.cpp's name) into a causal language model."""
    from transformers.integrations.gguf import GGUF_CONFIG_ARCHS
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

    # "qwen2moe" there is "qwen2_moe" here
    plain = {name.replace("_", "") for name in GGUF_SUPPORTED_ARCHITECTURES if name in KNOWN}
    return architecture in GGUF_CONFIG_ARCHS or re.sub("[-_]", "", architecture) in plain
