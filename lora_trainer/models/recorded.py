"""A base model that was trained on before: found again as it was then, or refused.

An adapter fits the weights that it was learnt on and no others, and merged into others it spoils them in silence. So
what a record names is never looked up afresh: an Ollama model and a GGUF file are known by their sha256, a hub model by
its commit, and a folder by its contents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lora_trainer.errors import BaseModelError
from lora_trainer.events import Listener, ignore
from lora_trainer.models.folder import check_config, configuration_files
from lora_trainer.models.source import BaseModel, model_in_file, model_in_folder, resolve_base_model

StoredFile = Callable[[str, str], Path | None]
"""stored_file(digest, name): the file of that sha256 (hex) in Ollama's store, near the model `name`; None without."""


def base_record(base: BaseModel) -> dict[str, Any]:
    """What of a base model goes into a run's record, as plain JSON values."""
    record = {name: getattr(base, name) for name in ("source", "kind", "revision", "architecture", "parameters")}
    return record | ({"files": configuration_files(base.path)} if base.kind == "folder" else {})


def resolve_recorded_base(
    record: Mapping[str, Any], *, stored_file: StoredFile | None = None, listener: Listener = ignore
) -> BaseModel:
    """Find again (or download) what `base_record` was made of; `files` may be missing, as in older records.

    Raises BaseModelError: "error.base.gone" where it is nowhere any more, "error.base.changed" where something else
    is in its place, and what `resolve_base_model` raises where it can't be reached or read.
    """
    from lora_trainer.models import hub

    source, revision = record["source"], record["revision"]
    if source.startswith("ollama:") and stored_file:
        path = stored_file(revision, source.removeprefix("ollama:"))
        if path is None:
            raise _gone(record)
        return model_in_file(source, path)
    if is_commit(revision):
        folder, commit = hub.download(source, check_config, listener, revision)
        return model_in_folder(source, folder, commit)
    if not source.startswith("modelscope:") and not Path(source).expanduser().exists():
        raise _gone(record)
    base = resolve_base_model(source, listener=listener)
    if what := _differences(record, base):
        values = {"source": source, "what": ", ".join(what), "was": revision[:12], "now": base.revision[:12]}
        raise BaseModelError("error.base.changed", **values)
    return base


def is_commit(revision: str) -> bool:
    """Whether a base model's revision is the hub's commit rather than a sha256."""
    return re.fullmatch("[0-9a-f]{40}", revision) is not None


def _differences(record: Mapping[str, Any], base: BaseModel) -> list[str]:
    """The files that aren't what they were."""
    what = []
    if base.revision != record["revision"]:
        what.append(base.path.name if base.kind == "gguf" else "*.safetensors")
    before = record.get("files")
    if before is not None:
        now = configuration_files(base.path)
        what += sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return what


def _gone(record: Mapping[str, Any]) -> BaseModelError:
    return BaseModelError("error.base.gone", source=record["source"], was=record["revision"][:12])
