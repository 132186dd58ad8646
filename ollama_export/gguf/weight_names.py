"""The names of weights: in a model's files, and in the model that transformers makes of them, which an adapter has."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

_OF_TEXT_MODELS = ("model", "language_model", "text_model")


def bare_name(name: str) -> str:
    """A weight's name without the parts that say "this is the text model".

    The converter and newer transformers leave them out or move them.
    """
    return ".".join(part for part in name.split(".") if part not in _OF_TEXT_MODELS)


def trained_names(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Name in the files -> what transformers calls that weight, by its own table of renamings for the family."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, rename_source_key

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    types = [part.get("model_type") for part in (config, config.get("text_config") or {})]
    known = [rule for each in types if each for rule in get_checkpoint_conversion_mapping(each) or ()]
    rules = [rule for rule in known if isinstance(rule, WeightRenaming)]
    if not rules:
        return {name: name for name in names}
    return {name: rename_source_key(name, rules, [])[0] for name in names}
