"""A run as one file that goes to another machine: record, rows and adapter, and nothing of the one it was made on."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora_trainer.data.dataset import Dataset
from lora_trainer.data.dialogues import Dialogues
from lora_trainer.engine.checkpoints import adapter_fault
from lora_trainer.errors import BaseModelError, UsageError, as_disk_error
from lora_trainer.models.folder import check_folder
from lora_trainer.models.recorded import is_commit
from pipeline.offers.downloaded import hub_cache
from pipeline.outcome.note import cleaned
from pipeline.run.history import History, Run
from pipeline.run.record import SCHEMA
from pipeline.run.rows import NAME as ROWS
from pipeline.run.rows import keep_rows, rows_of
from pipeline.temporary import own_folder
from pipeline.travel.archive import BEGUN_WITH, CONFIG, RECORD, WEIGHTS
from pipeline.travel.fields import SHAPES
from pipeline.travel.shapes import kept, misfit

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""A zip's first day: the same run is the same bytes, and tells no zone of time."""


def pack(run: Run, history: History, into: Path) -> Path:
    """Write a trained run as a zip into a folder, whole or not at all; its path.

    Raises UsageError where the run can't be had any more, ResourceError where nothing can be written there.
    """
    number, name = run.number, run.folder.parent.name
    for adapter in {run.adapter(None), run.adapter(run.taught_point)}:
        if fault := adapter_fault(adapter):
            raise UsageError("error.pack.no_adapter", number=number, reason=fault)
    record = travelling(run)
    if wrong := misfit(record, SHAPES):
        raise UsageError("error.pack.record", number=number, field=wrong)
    path = _free(into, f"{name}-{number}")
    unfinished = path.with_name(path.name + ".new")
    with _told(path, number), own_folder("packing") as folder:
        try:
            _write(unfinished, _files(run, history, record, Path(folder)))
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path


def travelling(run: Run) -> dict[str, Any]:
    """The record as it travels: today's schema, of known fields those that are of the run and not of the machine.

    What was published is another Ollama's business; of the points along the way the one that stands goes along.
    """
    record: dict[str, Any] = {**run.record, "schema": SCHEMA, "request": run.identity, "point": run.taught_point}
    record["stages"] = {"train": record["stages"]["train"]}
    record["base"] = _base(record["base"])
    record["data"] = _data(record["data"])
    training = record["training"]
    point = record["point"]
    points = [one for one in training.get("points", ()) if _is_kept(one, point, training["adapter"])]
    # that it was no machine of this name keeps its times from being taken for this one's
    record["training"] = {**training, "points": points, "device_name": ""}
    if record.get("comparison"):
        record["comparison"] = {**record["comparison"], "before": _side(record["comparison"]["before"], run)}
    shapes = {name: shape for name, shape in SHAPES.items() if name in record}
    known = {name: record[name] for name in shapes}
    # a field that isn't as it should be is told of by whoever packs it
    return dict(kept(known, shapes)) if not misfit(known, shapes) else known


def place_name(path: str) -> str:
    """The last part of a path, of whichever system."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def base_name(source: str, revision: str) -> str:
    """A base model's name: of what lies in a folder or file, that one's; an id, and the name in Ollama, as they are."""
    if source.startswith(("ollama:", "modelscope:")) or is_commit(revision):
        return source
    return place_name(source)


def _base(base: Mapping[str, Any]) -> dict[str, Any]:
    told = {**base, "source": base_name(base["source"], base["revision"])}
    if is_commit(base["revision"]) and not base.get("weights"):
        # of a record from before it was kept, where the model is still there
        folder = hub_cache() / f"models--{base['source'].replace('/', '--')}" / "snapshots" / base["revision"]
        with suppress(BaseModelError, OSError):
            told["weights"] = check_folder(folder).digest
    return told


def _data(data: Mapping[str, Any]) -> dict[str, Any]:
    files = {place_name(file): facts for file, facts in data["files"].items()}
    named = {key: place_name(data[key]) for key in ("train_file", "val_file") if data.get(key)}
    return {**data, **named, "files": files}


def _is_kept(one: Mapping[str, Any], point: Mapping[str, Any] | None, own: str) -> bool:
    return one["adapter"] == own or (point is not None and one["step"] == point["step"])


def _side(side: Mapping[str, Any] | None, run: Run) -> dict[str, Any] | None:
    if side is None or side["kind"] != "base":
        return dict(side) if side else None
    base = run.record["base"]
    own = side["name"] == base["source"]
    return {**side, "name": base_name(base["source"], base["revision"]) if own else place_name(side["name"])}


def _files(run: Run, history: History, record: dict[str, Any], folder: Path) -> Iterator[tuple[str, Path]]:
    """Name in the zip -> file; what is changed on the way is written into `folder`."""
    adapters = {"adapter": run.adapter(None)}
    if run.taught_point is not None:
        adapters[f"points/{run.taught_point['step']}"] = run.adapter(run.taught_point)
    if (begun := _begun_with(run, history)) is not None:
        adapters[BEGUN_WITH] = begun
    (folder / RECORD).write_text(json.dumps(record, ensure_ascii=False, indent=1), encoding="utf-8")
    yield RECORD, folder / RECORD
    rows = rows_of(run)
    if rows is not None:
        keep_rows(folder, unplaced(rows))
        yield ROWS, folder / ROWS
    for name, adapter in adapters.items():
        config = json.loads((adapter / CONFIG).read_text(encoding="utf-8"))
        own = folder / f"{name.replace('/', '-')}.json"
        config["base_model_name_or_path"] = record["base"]["source"]
        own.write_text(json.dumps(config, ensure_ascii=False, indent=2), encoding="utf-8")
        yield f"{name}/{CONFIG}", own
        yield f"{name}/{WEIGHTS}", adapter / WEIGHTS


def _begun_with(run: Run, history: History) -> Path | None:
    """The adapter that a run began with, where that is another run's and still there."""
    number = run.record.get("warm_start")
    if number is None:
        return None
    wanted = str(run.record.get("warm_start_adapter", "adapter"))
    parent = run if number == run.number else history.numbered(run.record["name"], number)
    if parent is None or adapter_fault(parent.folder / wanted):
        return None
    return parent.folder / wanted


def unplaced(rows: Dataset) -> Dataset:
    """The rows without the folders that their files were in."""
    parts = [[replace(one, file=cleaned(place_name(one.file))) for one in part] for part in (rows.train, rows.val)]
    return replace(rows, train=Dialogues(parts[0]), val=Dialogues(parts[1]))


def _write(path: Path, files: Iterator[tuple[str, Path]]) -> None:
    import shutil

    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED, allowZip64=False) as packed:
        for name, file in files:
            info = zipfile.ZipInfo(name, _LONG_AGO)
            info.compress_type, info.external_attr, info.create_system = zipfile.ZIP_DEFLATED, 0o100644 << 16, 3
            info.file_size = file.stat().st_size
            with file.open("rb") as source, packed.open(info, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)


def _free(into: Path, name: str) -> Path:
    """A name in a folder that nothing has."""
    path, number = into / f"{name}.zip", 2
    while path.exists():
        path, number = into / f"{name}-{number}.zip", number + 1
    return path


@contextmanager
def _told(path: Path, number: int) -> Iterator[None]:
    try:
        yield
    except zipfile.LargeZipFile as error:
        raise UsageError("error.pack.large", number=number, file=path) from error
    except OSError as error:
        disk = as_disk_error(error, str(path))
        if disk is None:
            raise
        raise disk from error
