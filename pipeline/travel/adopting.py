"""A run that was made on another machine, taken among the runs of this one.

It is copied beside them first, under a name that no run has, held against itself and its base model, and becomes a run
by a rename: what is refused, or cut off, leaves nothing that looks like one.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lora_trainer.errors import DataError, ResourceError
from lora_trainer.plan import TrainPlan
from pipeline.run.history import History, Run, now
from pipeline.run.likeness import mark_of
from pipeline.run.loss_curve import draw
from pipeline.run.rows import keep_rows
from pipeline.travel.archive import BEGUN_WITH, CONFIG, ROWS, WEIGHTS, Archive
from pipeline.travel.fitting import check_adapter, check_rows
from pipeline.travel.packing import unplaced

STAGING = "adopting-"
"""How the folder begins in which a run is looked at."""
_ELSEWHERE = ("from_run", "rows_of_run", "ladder")
"""Flags that speak of runs of the other machine."""


def adopt(
    archive: Archive, record: Mapping[str, Any], name: str, history: History, base: Callable[[], dict[str, Any]]
) -> Run:
    """Take the run of an `archive`, with what `read_record` made of its record, among those of a name.

    Whoever calls has the name's lock. `base` finds the base model on this machine: what a record has of it; it is asked
    when the rest fits. A run that is here already is found again. Raises DataError where something doesn't fit,
    ResourceError where there is no room, and what `base` raises; nothing is left then.
    """
    with _staged(archive, history, name) as folder:
        run = Run(folder, dict(record))
        adapters = _copied_adapters(archive, run)
        if (here := _here_already(history, name, run)) is not None:
            return here
        has_rows = archive.has(ROWS)
        if has_rows:
            archive.copy(ROWS, folder / ROWS)
            keep_rows(folder, unplaced(check_rows(archive, run)))
        run.record |= _own(run, name, history.next_number(name), has_rows=has_rows)
        run.record["base"] = base()
        for adapter in adapters:
            _name_base(folder / adapter / CONFIG, run.record["base"]["source"])
        draw(run.record["training"], run.plan.steps_per_epoch(run.record["data"]["rows"]), folder / "loss.png")
        return history.take_in(name, folder, run.record)


def give_up(run: Run) -> None:
    """Remove an adopted run that didn't prove to be what its record says."""
    doomed = run.folder.with_name(f"{STAGING}{uuid.uuid4().hex[:8]}")
    run.folder.rename(doomed)
    shutil.rmtree(doomed)


@contextmanager
def _staged(archive: Archive, history: History, name: str) -> Iterator[Path]:
    """A folder beside the runs of a name; gone again where it hasn't become one."""
    place = history.folder_of(name)
    for leftover in place.glob(f"{STAGING}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    needed, free = archive.size(list(archive.members)), shutil.disk_usage(place).free
    if free < needed:
        values = {"needed": f"{needed / 1e9:.1f} GB", "free": f"{free / 1e9:.1f} GB"}
        raise ResourceError("error.disk.too_small", path=place, **values)
    folder = place / f"{STAGING}{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copied_adapters(archive: Archive, run: Run) -> list[str]:
    """Copy the adapters that the record speaks of, and hold each against the plan; their folders."""
    training, plan = run.record["training"], run.plan
    training["adapter"] = "adapter"
    names = ["adapter"]
    if run.point is not None:
        names.append(f"points/{run.point['step']}")
    points = [one for one in training.get("points") or () if run.point and one["step"] == run.point["step"]]
    points = [{**one, "adapter": names[-1]} for one in points]
    own = [one for one in training.get("points") or () if one["step"] == training["steps"]]
    training["points"] = [*points, *({**one, "adapter": "adapter"} for one in own)]
    if run.record.get("warm_start") is not None and archive.has(f"{BEGUN_WITH}/{WEIGHTS}"):
        names.append(BEGUN_WITH)
    for name in names:
        _copy_adapter(archive, run.folder, name, plan)
    return names


def _copy_adapter(archive: Archive, folder: Path, name: str, plan: TrainPlan) -> None:
    for file in (CONFIG, WEIGHTS):
        if not archive.has(f"{name}/{file}"):
            raise DataError("error.adopt.lacks", file=archive.place, member=f"{name}/{file}")
        archive.copy(f"{name}/{file}", folder / name / file)
    check_adapter(archive, folder / name, name, plan)


def _here_already(history: History, name: str, run: Run) -> Run | None:
    """The run of this name that is the same training: begun at the same moment, with the same adapter."""
    mark = mark_of(run.folder / "adapter")
    for other in history.runs(name):
        if other.record.get("created") == run.record["created"] and other.has_done("train"):
            try:
                if mark_of(other.adapter(None)) == mark:
                    return other
            except OSError:
                continue
    return None


def _own(run: Run, name: str, number: int, *, has_rows: bool) -> dict[str, Any]:
    """What the record says of this home, in place of the one that it comes from."""
    record = run.record
    warm = record.get("warm_start") is not None
    return {
        "status": "trained",
        "request": {flag: value for flag, value in record["request"].items() if flag not in _ELSEWHERE},
        "parent": None,
        "warm_start": number if warm else None,
        **({"warm_start_adapter": BEGUN_WITH} if warm else {}),
        "data": {**record["data"], "rows_of_run": number if has_rows else None},
        "publications": [],
        "publishing": {},
        "adopted": {"taken": now(), "name": record["name"], "number": record["number"]},
        **({"comparison": _as_of(record["comparison"], name, number)} if record.get("comparison") else {}),
    }


def _as_of(comparison: Mapping[str, Any], name: str, number: int) -> dict[str, Any]:
    """A comparison of this run here; the one that it was compared with, where that was a run, isn't known here."""
    before = comparison["before"]
    if before is not None and before["kind"] == "run":
        before = {**before, "kind": "ollama", "run": None}
    return {**comparison, "before": before, "after": {**comparison["after"], "name": name, "run": number}}


def _name_base(config: Path, source: str) -> None:
    values = {**json.loads(config.read_text(encoding="utf-8")), "base_model_name_or_path": source}
    config.write_text(json.dumps(values, ensure_ascii=False, indent=2, sort_keys=True), encoding="utf-8")
