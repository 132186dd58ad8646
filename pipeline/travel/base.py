"""The base model of a run that came from elsewhere, as this machine has it: the same one, by its content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lora_trainer.errors import BaseModelError
from lora_trainer.events import Listener, Note
from lora_trainer.models.recorded import base_record, check_same_content, is_commit
from lora_trainer.models.source import BaseModel, resolve_base_model
from pipeline.checks.resources import parameter_count
from pipeline.offers.base_models import recommended
from pipeline.offers.downloaded import downloaded_folder, hub_cache
from pipeline.run.base_model import recorded_base_model

if TYPE_CHECKING:
    from ollama_export.server.client import OllamaClient


def base_here(
    record: Mapping[str, Any], given: str | None, client: OllamaClient, listener: Listener, *, weights_are_proven: bool
) -> dict[str, Any]:
    """The record of the base model as this machine has it, of a travelled `record`'s `base`.

    `given`: where it lies, as for --base_model. Raises BaseModelError: "error.adopt.no_base" where it isn't known where
    it lies, "error.base.changed" where another one lies there, and what looking it up raises.
    """
    if given is not None:
        base = resolve_base_model(given, listener=listener, ollama_blob=client.blob_path)
        check_same_content(record, base, weights_are_proven=weights_are_proven)
        return base_record(base)
    source, revision = record["source"], record["revision"]
    if source.startswith(("ollama:", "modelscope:")) or is_commit(revision):
        return _by_its_name(record, client, listener)
    if (found := _downloaded(record)) is not None:
        return base_record(found)
    raise _nowhere(record)


def _by_its_name(record: Mapping[str, Any], client: OllamaClient, listener: Listener) -> dict[str, Any]:
    source = record["source"]
    folder = hub_cache() / f"models--{source.replace('/', '--')}" / "snapshots" / record["revision"]
    is_here = source.startswith("ollama:") or downloaded_folder(source) is not None or folder.is_dir()
    if not is_here:
        listener(Note("note.adopt.fetch", {"source": source, "size": parameter_count(record["parameters"])}))
    try:
        return base_record(recorded_base_model(record, client, listener))
    except BaseModelError as error:
        if error.key == "error.base.gone":
            raise _nowhere(record) from error
        raise


def _downloaded(record: Mapping[str, Any]) -> BaseModel | None:
    """A recommended model of that name, where it was downloaded and is the same."""
    row = recommended(record["source"])
    if row is None or downloaded_folder(row.source) is None:
        return None
    try:
        base = resolve_base_model(str(downloaded_folder(row.source)))
        check_same_content(record, base)
    except BaseModelError:
        return None
    return base


def _nowhere(record: Mapping[str, Any]) -> BaseModelError:
    size = parameter_count(record["parameters"])
    return BaseModelError(
        "error.adopt.no_base", source=record["source"], architecture=record["architecture"], size=size
    )
