"""What is known of a base model before it is loaded, or even downloaded: its sizes and what is left to download."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from file_formats import gguf, safetensors
from file_formats.errors import BrokenFile
from lora_trainer.errors import UserError
from lora_trainer.models.shape import ModelShape, shape_of_config, shape_of_gguf
from pipeline.offers.base_models import recommended
from pipeline.offers.downloaded import downloaded_folder

if TYPE_CHECKING:
    from ollama_export.server.client import OllamaClient


@dataclass(frozen=True)
class BaseFacts:
    """A base model's sizes."""

    source: str
    shape: ModelShape
    download_bytes: int
    """0 where it is here."""


def base_facts(
    source: str, *, recorded: Mapping[str, Any] | None = None, client: OllamaClient | None = None
) -> BaseFacts | None:
    """What is known of the base model `source`, as for --base_model; None where that is nothing before a download.

    `recorded`: what a run's record has under `base`, in whose place the number of weights is taken from there. Of files
    only the heads are read. An Ollama that doesn't answer, or a broken file, is None as well: whoever trains is told.
    """
    row = recommended(source.removeprefix("modelscope:"))
    folder = downloaded_folder(source) if not source.startswith("ollama:") else None
    if row is not None:
        shape = row.shape
        if recorded is not None and recorded.get("parameters"):
            shape = ModelShape(**{**vars(shape), "parameters": recorded["parameters"]})
        return BaseFacts(source, shape, 0 if folder else row.download_bytes)
    path = folder or Path(source).expanduser()
    try:
        if source.startswith("ollama:"):
            path = _client(client).blob_path(source.removeprefix("ollama:"))
        found = _of_folder(path) if path.is_dir() else shape_of_gguf(gguf.read_head(path)) if path.is_file() else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, BrokenFile, UserError):
        return None
    return BaseFacts(source, found, 0) if found else None


def _of_folder(folder: Path) -> ModelShape | None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    parameters = sum(safetensors.read_head(folder / name).parameters for name in safetensors.weight_files(folder))
    return shape_of_config(config, parameters)


def _client(client: OllamaClient | None) -> OllamaClient:
    from ollama_export.server.client import OllamaClient

    return client or OllamaClient()
