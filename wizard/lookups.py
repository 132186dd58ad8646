"""Putting back or proving a published model: what `--rollback` and `--verify` do; and what `--json` tells of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pipeline.request import Request
from pipeline.run.history import BrokenRun, History, Run
from wizard.moving import pack
from wizard.page.lookup import make_report
from wizard.screen.screen import Screen

_OF_RECORD = ("created", "finished", "parent", "warm_start", "note", "point", "card", "comparison", "adopted")
_OF_TRAINING = ("val_losses", "general_loss", "peak_memory", "points", "samples")
_OF_DATA = ("rows", "val_rows", "change")
"""Fields that are told as the record has them (docs/files.md)."""


def tell_broken(broken: Sequence[BrokenRun], screen: Screen) -> None:
    """Say which runs are passed over because their record can't be read."""
    for run in broken:
        values = {"name": run.name, "number": run.number, "path": run.folder / "run.json", "reason": run.reason}
        if run.schema is not None:
            screen.note("note.newer_run", name=run.name, number=run.number, path=run.folder / "run.json")
        elif run.adapter:
            screen.note("note.broken_run", adapter=run.adapter, **values)
        else:
            screen.note("note.broken_run_without_adapter", **values)


def roll_back(name: str, history: History, screen: Screen, request: Request) -> dict[str, Any] | None:
    """Put the next older backup back under the name, or run `--run`'s; None where that has to be made again."""
    from pipeline.run import published

    done = published.roll_back(history, name, request.run)
    if done is None:
        screen.note("note.rollback.made_again", name=name, number=request.run)
        return None
    run = next((run for run in reversed(history.runs(name)) if done.backup.digest in run.digests), None)
    screen.note("note.rolled_back", name=name, tag=done.backup.name)
    screen.note("note.rolled_back.run" if run else "note.rolled_back.elsewhere", number=run.number if run else 0)
    if done.kept:
        screen.note("note.rolled_back.kept", tag=done.kept)
    number = run.number if run else None
    return {"status": "done", "name": name, "backup": done.backup.name, "run": number, "kept": done.kept}


def verify(name: str, history: History, screen: Screen, _: Request) -> dict[str, Any]:
    """Prove the model in Ollama against its run record again."""
    from pipeline.run import published

    run, stops = published.verify_published(history, name, screen.listen)
    key = "note.verified" if stops else "note.verified.endless"
    screen.note(key, name=name, number=run.number, count=len(run.record["proofs"]))
    return {**outcome(run), "verified": True, "stops": stops}


def compare_only(name: str, history: History, screen: Screen, request: Request) -> dict[str, Any]:
    """Show how a run's model answers beside the one before it, and the card that knows of these answers."""
    from wizard.outcome import show_card
    from wizard.steps.comparison import show_of

    run, comparison = show_of(name, history, screen, request)
    if comparison is not None:
        parent = history.numbered(name, run.record["parent"])
        show_card(run, history, parent, screen, tell_next=True)
    return {**outcome(run), "comparison": comparison.to_record() if comparison else None}


BY_FLAG: dict[str, Callable[[str, History, Screen, Request], dict[str, Any] | None]] = {
    "rollback": roll_back,
    "verify": verify,
    "report": make_report,
    "pack": pack,
    "compare_only": compare_only,
}


def outcome(run: Run) -> dict[str, Any]:
    """What `--json` tells of a run; None stands for what its record doesn't have."""
    record = run.record
    training, data = record.get("training") or {}, record.get("data") or {}
    return {
        "status": record["status"],
        "name": record["name"],
        "run": run.number,
        "folder": str(run.folder),
        "base_model": record["base"]["source"],
        "strategy": record["strategy"],
        "plan": record["plan"],
        "loss": _last(training.get("losses")),
        "val_loss": _last(training.get("val_losses")),
        "gguf": record.get("gguf"),
        "ollama": record.get("ollama"),
        "stages": {name: stage["seconds"] for name, stage in record["stages"].items()},
        **{name: record.get(name) for name in _OF_RECORD},
        **{name: training.get(name) for name in _OF_TRAINING},
        **{name: data.get(name) for name in _OF_DATA},
    }


def outcome_of_broken(run: BrokenRun) -> dict[str, Any]:
    """The same of a run whose record can't be read."""
    known = {
        "status": "broken" if run.schema is None else "newer",
        "name": run.name,
        "run": run.number,
        "folder": str(run.folder),
    }
    unknown = dict.fromkeys(("base_model", "strategy", "plan", "loss", "val_loss", "gguf", "ollama"))
    unknown |= dict.fromkeys((*_OF_RECORD, *_OF_TRAINING, *_OF_DATA))
    adapter = str(run.adapter) if run.adapter else None
    return {**known, **unknown, "stages": {}, "reason": run.reason, "adapter": adapter}


def _last(curve: list[list[float]] | None) -> float | None:
    return curve[-1][1] if curve else None
