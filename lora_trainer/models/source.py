"""Where a base model comes from (hub, ModelScope, folder, GGUF file, Ollama model), and what can be trained."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from file_formats.errors import BrokenFile
from file_formats.gguf import read_head
from lora_trainer.errors import BaseModelError
from lora_trainer.events import Listener, ignore
from lora_trainer.models.folder import check_config, check_folder

_HUB_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?", re.ASCII)


@dataclass(frozen=True)
class BaseModel:
    """A base model on this machine, checked as far as that goes without loading its weights."""

    source: str
    """As the user wrote it."""
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
    Raises BaseModelError with the next step to take for every way in which that fails.
    """
    from lora_trainer.models import hub

    if source.startswith("ollama:") and ollama_blob:
        return _gguf(source, ollama_blob(source.removeprefix("ollama:")))
    if source.startswith("modelscope:"):
        return _folder(source, hub.download_from_modelscope(source.removeprefix("modelscope:")), None)
    path = Path(source).expanduser()
    if path.is_dir():
        return _folder(source, path, None)
    if path.is_file():
        return _gguf(source, path)
    if not _HUB_ID.fullmatch(source) or source.lower().endswith(".gguf") or source.startswith("."):
        raise BaseModelError("error.base_model.no_such_path", source=source)
    folder, commit = hub.download(source, check_config, listener)
    return _folder(source, folder, commit)


def _folder(source: str, folder: Path, commit: str | None) -> BaseModel:
    found = check_folder(folder)
    return BaseModel(source, "folder", folder, commit or found.digest, found.architecture, found.parameters)


def _gguf(source: str, path: Path) -> BaseModel:
    try:
        head = read_head(path)
    except (BrokenFile, OSError) as error:
        reason = error.reason if isinstance(error, BrokenFile) else str(error)
        raise BaseModelError("error.base_model.not_gguf", path=str(path), reason=reason) from error
    if head.get("split.count", 1) > 1:
        raise BaseModelError("error.base_model.gguf_split", path=str(path))
    if not _reads_gguf(head.architecture):
        raise BaseModelError("error.base_model.gguf_architecture", architecture=head.architecture)
    scaling = head.get(f"{head.architecture}.rope.scaling.type", "none")
    if scaling != "none" or any(tensor.name.startswith("rope_factors_") for tensor in head.tensors):
        raise BaseModelError("error.base_model.gguf_rope", path=str(path), scaling=scaling)
    # Ollama names a blob after its digest
    named = re.fullmatch(r"sha256-([0-9a-f]{64})", path.name)
    if named:
        revision = named[1]
    else:
        with path.open("rb") as file:
            revision = hashlib.file_digest(file, "sha256").hexdigest()
    return BaseModel(source, "gguf", path, revision, head.architecture, head.parameters)


def _reads_gguf(architecture: str) -> bool:
    """Whether transformers turns GGUF files of this architecture (llama.cpp's name) into a causal language model."""
    from transformers.integrations.gguf import GGUF_CONFIG_ARCHS
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

    # "qwen2moe" there is "qwen2_moe" here
    plain = {name.replace("_", "") for name in GGUF_SUPPORTED_ARCHITECTURES if name in KNOWN}
    return architecture in GGUF_CONFIG_ARCHS or re.sub("[-_]", "", architecture) in plain
