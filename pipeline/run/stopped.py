"""What a stop has left of a run, and how it goes on: told from what stands on the disk, so that it is true."""

from __future__ import annotations

from lora_trainer.errors import Interrupted
from pipeline.run.history import Run


def interrupted(name: str, run: Run | None, *, registers: bool = True) -> Interrupted:
    """The error that ends a stopped run of the model `name`; None for one that has no record yet.

    `registers`: whether the model is to be put into Ollama in the end.
    """
    if run is None:
        return Interrupted("error.interrupted.nothing", name=name)
    if not run.has_done("train"):
        return _in_training(name, run)
    if not run.has_done("export"):
        return Interrupted("error.interrupted.trained", name=name)
    if not registers:
        return Interrupted("error.interrupted.unproven", name=name)
    if run.has_done("publish") or "swapped" in run.record["publishing"]:
        return Interrupted("error.interrupted.published", name=name)
    return Interrupted("error.interrupted.exported", name=name)


def _in_training(name: str, run: Run) -> Interrupted:
    from lora_trainer.engine.checkpoints import Checkpoints

    step = max(Checkpoints(run.folder / "checkpoints").steps(), default=0)
    if step == 0:
        return Interrupted("error.interrupted.unsaved", name=name)
    total = run.plan.total_steps(run.record["data"]["rows"])
    return Interrupted("error.interrupted.training", name=name, step=step, total=total, percent=100 * step // total)
