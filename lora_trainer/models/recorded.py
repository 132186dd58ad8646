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
from lora_trainer.models.folder import check_config, check_folder, configuration_files
from lora_trainer.models.source import BaseModel, model_in_file, model_in_folder, resolve_base_model

StoredFile = Callable[[str, str], Path | None]
"""stored_file(digest, name): the file of that sha256 (hex) in Ollama's store, near the model `name`; None without."""


def base_record(base: BaseModel) -> dict[str, Any]:
    """What of a base model goes into a run's record, as plain JSON values."""
    record = {name: getattr(base, name) for name in ("source", "kind", "revision", "architecture", "parameters")}
    if base.kind != "folder":
        return record
    record |= {"files": configuration_files(base.path)}
    # a commit says nothing of a copy that lies somewhere else
    return record | ({"weights": check_folder(base.path).digest} if is_commit(base.revision) else {})


def check_same_content(record: Mapping[str, Any], base: BaseModel, *, weights_are_proven: bool = False) -> None:
    """Raise BaseModelError("error.base.changed") where `base`, which lies at another place, isn't what is recorded.

    A commit of the hub's and a folder are compared by the folder's digest. Where an older record of a hub model has
    none, the files beside the weights are compared, which is enough only where its weights are proven by other means.
    """
    what = []
    if base.kind != record["kind"]:
        what.append(base.path.name)
    else:
        if not _are_same_weights(record, base, unless_known=weights_are_proven):
            what.append(base.path.name if base.kind == "gguf" else "*.safetensors")
        what += _changed_files(record, base)
    if what:
        raise _changed(record, base, what)


def _are_same_weights(record: Mapping[str, Any], base: BaseModel, *, unless_known: bool) -> bool:
    if base.revision == record["revision"]:
        return True
    if base.kind == "gguf":
        return False
    known = record.get("weights") if is_commit(record["revision"]) else record["revision"]
    if known is None:
        return unless_known
    return bool(known == check_folder(base.path).digest)


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
        raise _changed(record, base, what)
    return base


def is_commit(revision: str) -> bool:
    """Whether a base model's revision is the hub's commit rather than a sha256."""
    return re.fullmatch("[0-9a-f]{40}", revision) is not None


def _differences(record: Mapping[str, Any], base: BaseModel) -> list[str]:
    """The files that aren't what they were."""
    what = []
    if base.revision != record["revision"]:
        what.append(base.path.name if base.kind == "gguf" else "*.safetensors")
    return what + _changed_files(record, base)


def _changed_files(record: Mapping[str, Any], base: BaseModel) -> list[str]:
    before = record.get("files")
    if before is None:
        return []
    now = configuration_files(base.path)
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def _changed(record: Mapping[str, Any], base: BaseModel, what: list[str]) -> BaseModelError:
    values = {"what": ", ".join(what), "was": record["revision"][:12], "now": base.revision[:12]}
    return BaseModelError("error.base.changed", source=base.source, **values)


def _gone(record: Mapping[str, Any]) -> BaseModelError:
    return BaseModelError("error.base.gone", source=record["source"], was=record["revision"][:12])
