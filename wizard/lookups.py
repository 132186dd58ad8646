"""Looking at runs and putting back or proving a published model: what `--history`, `--rollback` and `--verify` do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pipeline.request import Request
from pipeline.run.history import BrokenRun, History, Run
from wizard.screen.screen import Screen
from wizard.screen.tables import HistoryRow
from wizard.words import local_time


def show_history(history: History, screen: Screen, name: str | None) -> dict[str, Any]:
    """All runs, or those of one model, oldest first; which of them stand in Ollama is told by digest."""
    from pipeline.run.published import digests_in_ollama

    there = digests_in_ollama()
    if there is None:
        screen.note("note.history.no_ollama")
    runs = history.runs(name) if name else [run for each in history.names() for run in history.readable(each)]
    told = [(run, None if there is None else there.get(run.record["name"]) in run.digests) for run in runs]
    broken = history.broken(name)
    if runs or not broken:
        screen.history([_row(run, bool(stands)) for run, stands in told])
    tell_broken(broken, screen)
    listed = [{**outcome(run), "stands": stands} for run, stands in told] + [_outcome_of_broken(run) for run in broken]
    return {"status": "done", "runs": sorted(listed, key=lambda told: (told["name"].lower(), told["run"]))}


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


BY_FLAG: dict[str, Callable[[str, History, Screen, Request], dict[str, Any] | None]] = {
    "rollback": roll_back,
    "verify": verify,
}


def outcome(run: Run) -> dict[str, Any]:
    """What `--json` tells of a run."""
    record = run.record
    training = record.get("training", {})
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
    }


def _outcome_of_broken(run: BrokenRun) -> dict[str, Any]:
    """The same of a run whose record can't be read."""
    known = {
        "status": "broken" if run.schema is None else "newer",
        "name": run.name,
        "run": run.number,
        "folder": str(run.folder),
    }
    unknown = dict.fromkeys(("base_model", "strategy", "plan", "loss", "val_loss", "gguf", "ollama"))
    adapter = str(run.adapter) if run.adapter else None
    return {**known, **unknown, "stages": {}, "reason": run.reason, "adapter": adapter}


def _row(run: Run, stands: bool) -> HistoryRow:
    training = run.record.get("training", {})
    return HistoryRow(
        name=run.record["name"],
        number=run.number,
        date=local_time(run.record["created"]),
        status=run.record["status"],
        epochs=run.plan.epochs,
        learning_rate=run.plan.learning_rate,
        lora_rank=run.plan.lora_rank,
        loss=_last(training.get("losses")),
        val_loss=_last(training.get("val_losses")),
        stands=stands,
    )


def _last(curve: list[list[float]] | None) -> float | None:
    return curve[-1][1] if curve else None
