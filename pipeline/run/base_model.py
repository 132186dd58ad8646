"""A run's base model: as it was named now, or as an earlier run's record has it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_trainer.chat_format import ChatFormat
from lora_trainer.errors import BaseModelError, OllamaError
from lora_trainer.events import Listener, Note
from lora_trainer.models.recorded import is_commit, resolve_recorded_base
from lora_trainer.models.source import BaseModel as BaseModel
from lora_trainer.models.source import look_for_base_model, resolve_base_model
from pipeline.offers.downloaded import downloaded_folder
from pipeline.request import Request
from pipeline.run.history import Run

if TYPE_CHECKING:
    from ollama_export.server.client import OllamaClient
    from pipeline.job import Job


def base_model_of(job: Job, listener: Listener) -> BaseModel:
    """The job's base model, found or downloaded; raises BaseModelError. A GGUF file is read whole for that, once."""
    if job.found_base is not None:
        return job.found_base
    if job.recorded_base is not None:
        return recorded_base_model(job.recorded_base, job.client, listener)
    return base_model_named(job.base_source, job.client, listener)


def base_model_named(source: str, client: OllamaClient | None, listener: Listener) -> BaseModel:
    """The base model `source`, as for --base_model, found or downloaded; raises BaseModelError."""
    blob = lambda name: _ollama(client).blob_path(name)  # noqa: E731
    return resolve_base_model(source, listener=listener, ollama_blob=blob)


def recorded_base_model(record: Mapping[str, Any], client: OllamaClient | None, listener: Listener) -> BaseModel:
    """What an earlier run's record has under `base`, as it was then.

    Raises BaseModelError: "error.base.gone" or "error.base.changed" where it isn't to be had any more.
    """
    stored = lambda digest, name: _ollama(client).stored_file(digest, name)  # noqa: E731
    return resolve_recorded_base(record, stored_file=stored, listener=listener)


def look_again(
    record: Mapping[str, Any], client: OllamaClient | None, listener: Listener
) -> BaseModel | BaseModelError | None:
    """A recorded base model that is to be trained on again, or what keeps it from that: gone, or another one by now.

    None where that can't be told before it is downloaded or an Ollama is started.
    """
    if is_commit(record["revision"]) or record["source"].startswith("modelscope:"):
        return None
    try:
        return recorded_base_model(record, client, listener)
    except BaseModelError as error:
        return error if error.key in ("error.base.gone", "error.base.changed") else None
    except OllamaError as error:
        if error.key != "error.ollama.unreachable":
            raise
    return None


def recorded_base_here(record: Mapping[str, Any], client: OllamaClient | None, listener: Listener) -> BaseModel | None:
    """A recorded base model where it lies on this machine as it was then; None of others. Nothing is downloaded."""
    if is_commit(record["revision"]):
        folder = downloaded_folder(record["source"])
        is_here = folder is not None and folder.name == record["revision"]
        return recorded_base_model(record, client, listener) if is_here else None
    seen = look_again(record, client, listener)
    return seen if isinstance(seen, BaseModel) else None


def shown_by_ollama(source: str, client: OllamaClient | None) -> Mapping[str, Any] | None:
    """What Ollama tells of the base model `ollama:NAME`; None of others, and where it isn't there or doesn't answer."""
    if not source.startswith("ollama:"):
        return None
    try:
        return _ollama(client).show(source.removeprefix("ollama:"))
    except OllamaError as error:
        if error.key not in ("error.ollama.unreachable", "error.ollama.model_missing"):
            raise
        return None


def chat_format_in(job: Job, base: BaseModel, tokenizer: Any) -> ChatFormat:
    """The chat format of the job's base model; raises BaseModelError, which tells a model that chats by other means."""
    from lora_trainer.models.load import chat_format_of

    try:
        return chat_format_of(base, tokenizer, thoughts=job.dataset is not None and job.dataset.has_thoughts)
    except BaseModelError as error:
        name = base.source.removeprefix("ollama:")
        if error.key != "error.base_model.no_chat_template" or name == base.source:
            raise
        if _ollama(job.client).show(name).get("template", "").strip() in ("", "{{ .Prompt }}"):
            raise
        raise BaseModelError("error.base.template_only", source=base.source) from error


def look_for(
    source: str, recorded: Mapping[str, Any] | None, client: OllamaClient | None, listener: Listener
) -> BaseModel | None:
    """The base model where it lies on this machine; raises BaseModelError where there is no such model at all.

    Nothing is downloaded, and no Ollama is started.
    """
    blob = lambda name: _ollama(client).blob_path(name)  # noqa: E731
    try:
        if recorded is not None and not is_commit(recorded["revision"]):
            return None if source.startswith("modelscope:") else recorded_base_model(recorded, client, listener)
        if source.startswith("ollama:") or Path(source).expanduser().exists():
            return resolve_base_model(source, listener=listener, ollama_blob=blob)
        look_for_base_model(source, revision=recorded["revision"] if recorded else None, ollama_blob=blob)
    except OllamaError as error:
        if error.key != "error.ollama.unreachable":
            raise
        listener(Note("note.base.not_looked_up", {"source": source}))
    return None


def recorded_base(previous: Run | None, request: Request, source: str, *, overwrite: bool) -> Mapping[str, Any] | None:
    """What the record of the run before has of the base model `source`; None where that is to be looked up afresh.

    Whoever names no base model means the recorded one, and so does a flag that names it again, but for what lies at a
    path now, and for a hub model that is trained on anew. `ollama:NAME` always means the model that it was: by now
    another may have been published over it.
    """
    if previous is None or previous.record["base"]["source"] != source:
        return None
    record: Mapping[str, Any] = previous.record["base"]
    afresh = overwrite or not is_commit(record["revision"])
    if request.base_model is not None and afresh and not source.startswith("ollama:"):
        return None
    return record


def _ollama(client: OllamaClient | None) -> OllamaClient:
    """The Ollama that `ollama:NAME` is looked up in; a run that registers nothing asks it all the same."""
    from ollama_export.server.client import OllamaClient

    return client or OllamaClient()
