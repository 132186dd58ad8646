"""What belongs to a model is kept from run to run: its data, its system prompt, the way it is served.

A continued or overwritten model takes them from the record of the run that stands, a model that was made elsewhere
from what Ollama tells of it; a flag says otherwise. Without this, the command that the program itself prints would
train the example data under somebody else's name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lora_trainer.errors import DataError
from pipeline.data_places import DEFAULT_DATA, TRAIN
from pipeline.request import Request
from pipeline.run.history import Run
from pipeline.serving import Serving, serving_in_ollama, serving_of

PROGRAM = Path(__file__).resolve().parents[2]
"""The program's folder: files inside are recorded relative to it, so that a checkout that was moved keeps them."""


@dataclass(frozen=True)
class TakenOver:
    """A request completed by what is kept, and where each part came from: default, record, ollama or flag."""

    request: Request
    serving: Serving
    sources: Mapping[str, str] = field(default_factory=dict)
    """`data` and `system`."""
    lost: tuple[str, ...] = ()
    """What of a model made elsewhere can't be kept."""
    other_data: str | None = None
    """The file that the model was trained on, where a flag names another one."""
    seed: int | None = None
    """By which validation rows were split off; None for the default."""
    corrects: bool = False
    """Whether the answers that were put right in conversations with the model are learnt beside its data."""


def take_over(
    request: Request, run: Run | None, shown: Mapping[str, Any] | None = None, *, continues: bool = False
) -> TakenOver:
    """Complete a request by what belongs to the model: `run` stands under its name, or Ollama has `shown` it.

    `continues`: it is trained on, rather than replaced by another one, and what was corrected of it is learnt.
    Raises DataError where the recorded data are gone and nothing else is named.
    """
    lost: list[str] = []
    sources = {"data": "flag" if request.names_data else "default", "system": "flag"}
    serving, other = Serving(), None
    corrects = continues and run is not None and (not request.names_data or names_own_file(request, run))
    if not (request.system or request.no_system):
        sources["system"] = "default"
    if run is not None:
        serving = serving_of(run.record, source="record")
        if request.names_data:
            other = str(train_file_of(run))
        else:
            request = with_recorded_data(request, run)
            sources["data"] = "record"
        if sources["system"] == "default":
            request, sources["system"] = _with_recorded_system(request, run)
        if request.thoughts is None and run.thinks:
            request = replace(request, thoughts="train")
    elif shown is not None:
        serving, lost = serving_in_ollama(shown)
        if sources["system"] == "default" and str(shown.get("system") or "").strip():
            request, sources["system"] = replace(request, system=str(shown["system"])), "ollama"
    seed = request.seed if request.seed is not None or run is None else run.plan.seed
    return TakenOver(request, serving.changed_by(request), sources, tuple(lost), other, seed, corrects)


def names_own_file(request: Request, run: Run) -> bool:
    """Whether flags or answers name the very training file that a run was trained on."""
    if request.data_dir is None and request.train_file is None:
        return False
    named = request.train_file
    if named is None or not named.exists():
        named = (request.data_dir or DEFAULT_DATA) / (named or TRAIN)
    return named.resolve() == train_file_of(run).resolve()


def _with_recorded_system(request: Request, run: Run) -> tuple[Request, str]:
    """A prompt that somebody chose is kept, "none" too; one that the rows bring is theirs to change."""
    said = run.record.get("system_source") or _said_by_flags(run.record)
    if said == "none":
        return replace(request, no_system=True), "record"
    if said == "rows" or run.record["system"] is None:
        return request, "default"
    return replace(request, system=run.record["system"]), "record"


def _said_by_flags(record: Mapping[str, Any]) -> str:
    """Of a record from before `system_source`: its request has the flags."""
    asked = record["request"]
    return "none" if asked.get("no_system") else "flag" if asked.get("system") else "rows"


def system_source(request: Request, sources: Mapping[str, str]) -> str:
    """What a new record says of its system prompt: flag (somebody chose it), none (chosen, too) or rows."""
    if request.no_system:
        return "none"
    return "rows" if sources.get("system") == "default" else "flag"


def portable(path: Path) -> str:
    """A path as it is recorded: relative to the program's folder inside it, absolute elsewhere."""
    absolute = path.absolute()
    return (absolute.relative_to(PROGRAM) if absolute.is_relative_to(PROGRAM) else absolute).as_posix()


def train_file_of(run: Run) -> Path:
    """The file that a run was trained on, where it was."""
    recorded, _ = _recorded_files(run.record["data"])
    return PROGRAM / recorded


def _recorded_files(data: Mapping[str, Any]) -> tuple[str, str | None]:
    """Training and validation file; a record from before they were told apart has them in this order."""
    if "train_file" in data:
        return data["train_file"], data["val_file"]
    first, *others = data["files"]
    return first, others[0] if others else None


def with_recorded_data(request: Request, run: Run) -> Request:
    """The request with the data that a run was trained on. Raises DataError where they are gone."""
    data = run.record["data"]
    if data.get("rows_of_run") is not None:
        return replace(request, rows_of_run=data["rows_of_run"])
    train, val = _recorded_files(data)
    found = _found(train, data["files"])
    if found is None:
        raise DataError("error.data.recorded_gone", file=PROGRAM / train, name=run.record["name"], number=run.number)
    val_file = request.val_file
    if val_file is None and val is not None:
        val_file = _found(val, data["files"])
        if val_file is None:
            raise DataError("error.data.recorded_gone", file=PROGRAM / val, name=run.record["name"], number=run.number)
    return replace(request, data_dir=found.parent, train_file=found, val_file=val_file)


def _found(recorded: str, files: Mapping[str, Mapping[str, Any]]) -> Path | None:
    """A recorded file where it was, or, of a checkout that was moved, the one of the same content below `data/`."""
    path = PROGRAM / recorded
    if path.is_file():
        return path
    facts = files.get(recorded) or next((f for name, f in files.items() if Path(name).name == path.name), {})
    for candidate in sorted((PROGRAM / "data").rglob(path.name)):
        if hashlib.sha256(candidate.read_bytes()).hexdigest() == facts.get("sha256"):
            return candidate
    return None
