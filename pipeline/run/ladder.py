"""The ladder: several lengths of one training for little more than the price of the longest.

Each rung goes on from the end of the rung below's stable phase and decays on its own, so it is bit for bit the run of
that length. One of them is published, the others stay as trained runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from lora_trainer.events import Listener, Note
from pipeline.checks.checklist import Prepared
from pipeline.job import Job
from pipeline.outcome.points import drop_points
from pipeline.run.history import Run
from pipeline.run.standing import rungs_of_climb
from pipeline.stages import run_stages


def climb(
    job: Job, rungs: Sequence[float], prepared: Prepared, listener: Listener, stop: Callable[[], bool]
) -> list[Run]:
    """Train every rung, shortest first; those that an interrupted climb has trained are not trained again."""
    begun = {run.plan.epochs: run for run in rungs_of_climb(job.history, job.request, job.name)}
    runs = []
    for epochs in rungs:
        plan = replace(job.plan, epochs=epochs, sources={**job.plan.sources, "epochs": "flag"})
        rung = replace(job, plan=plan, run=begun.get(epochs))
        runs.append(run_stages(rung, prepared, listener, stop, until="train"))
        values = {"number": runs[-1].number, "epochs": epochs, "loss": _loss(runs[-1])}
        listener(Note("note.rung" if _loss(runs[-1]) is not None else "note.rung_without_validation", values))
    return runs


def best_rung(runs: Sequence[Run]) -> Run:
    """The rung with the lowest validation loss at its end; the longest where nothing was validated."""
    measured = [run for run in runs if _loss(run) is not None]
    return min(measured, key=lambda run: _loss(run) or 0.0) if measured else runs[-1]


def settle(runs: Sequence[Run], status: str = "done") -> None:
    """Nothing of the climb is left to do: the rungs that were not published are done (or "declined") as well."""
    for run in runs:
        if not run.is_over:
            run.update(status=status)
            drop_points(run)


def _loss(run: Run) -> float | None:
    losses = run.record["training"]["val_losses"]
    return float(losses[-1][1]) if losses else None
