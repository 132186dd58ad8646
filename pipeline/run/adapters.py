"""The adapter that a trained run has: one that can't be read is a training that isn't done."""

from __future__ import annotations

from lora_trainer.engine.checkpoints import Checkpoints, adapter_fault, publish_adapter
from lora_trainer.events import Listener, Note
from pipeline.run.history import Run


def mend_adapter(run: Run, listener: Listener, *, may_train: bool = True) -> None:
    """Take a trained run's adapter from its checkpoint where it can't be read any more.

    Where there is no such checkpoint the training is struck from the journal, with all that was made of it, and goes on
    from the newest one; not where nobody `may_train`.
    """
    adapter = run.folder / "adapter"
    if not run.has_done("train") or not (fault := adapter_fault(adapter)):
        return
    training = run.record["training"]
    best = training["best_step"] if run.plan.early_stop else None
    checkpoint = Checkpoints(run.folder / "checkpoints").at(best or training["steps"])
    if not adapter_fault(checkpoint):
        publish_adapter(checkpoint, adapter)
        listener(Note("note.adapter_restored", {"number": run.number, "reason": fault}))
    elif may_train:
        run.update(stages={}, publishing={}, **({"status": "interrupted"} if run.is_waiting else {}))
        listener(Note("note.adapter_lost", {"number": run.number, "reason": fault}))
