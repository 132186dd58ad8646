"""Whether a base model lies in a cache already, by its folder's names: no library is asked, no weight is read."""

from __future__ import annotations

import os
from pathlib import Path

from file_formats.errors import BrokenFile
from file_formats.safetensors import weight_files


def hub_cache() -> Path:
    """The hub's cache, as huggingface_hub finds it (its constants.py)."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or Path(home) / "hub"
    return Path(os.path.expandvars(cache)).expanduser()


def modelscope_cache() -> Path:
    """ModelScope's cache of models."""
    return Path(os.environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope/hub").expanduser() / "models"


def downloaded_folder(source: str) -> Path | None:
    """The whole model of a hub id or `modelscope:ID` in its cache; None where it isn't, or not all of it, here."""
    if source.startswith("modelscope:"):
        return _modelscope_folder(source.removeprefix("modelscope:"))
    repo = hub_cache() / f"models--{source.replace('/', '--')}"
    try:
        commit = (repo / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    folder = repo / "snapshots" / commit
    return folder if commit and _is_whole(folder) else None


def is_downloaded(source: str) -> bool:
    """Is nothing of the model left to download?"""
    return downloaded_folder(source) is not None


def _modelscope_folder(repo: str) -> Path | None:
    # a dot in a model's name is written so there
    places = [modelscope_cache() / name for name in (repo, repo.replace(".", "___"))]
    old = modelscope_cache().parent
    places += [old / name for name in (repo, repo.replace(".", "___"))]
    return next((folder for folder in places if _is_whole(folder)), None)


def _is_whole(folder: Path) -> bool:
    """Whether configuration, tokenizer and all weights are there; what is still being fetched has no name yet."""
    if not (folder / "config.json").is_file():
        return False
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        return False
    try:
        return all((folder / name).is_file() for name in weight_files(folder))
    except BrokenFile:
        return False
