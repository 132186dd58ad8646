"""Points along the way of a run: the adapter after whole and half epochs, to choose from when the run is over.

One that is taken while the rate is still stable hasn't decayed: it is what the run was at that moment.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from file_formats.durable import sync_file, sync_folder
from lora_trainer.engine.checkpoints import ADAPTER_FILES, Checkpoints
from lora_trainer.engine.schedule import half_epochs
from lora_trainer.plan import TrainPlan

MOST = 8
"""Points that a run keeps, the last one among them."""


def point_steps(total_steps: int, steps_per_epoch: int, most: int = MOST) -> list[int]:
    """After how many steps the adapter is kept: whole and half epochs, the last step, at most `most`.

    Where there are more, every second, fourth, eighth … of them, so that a longer way keeps some of what a shorter one
    has kept.
    """
    halves, stride = half_epochs(total_steps, steps_per_epoch), 1
    while len(steps := {*halves[stride - 1 :: stride], total_steps}) > most:
        stride *= 2
    return sorted(steps)


def epochs_at(plan: TrainPlan, step: int, dialogues: int) -> float:
    """The epochs of `step` steps as people say it: where an epoch has an odd number of steps, its half is one too."""
    if step == plan.total_steps(dialogues):
        return plan.epochs
    per_epoch = plan.steps_per_epoch(dialogues)
    nearest = round(2 * step / per_epoch) / 2
    return nearest if step in half_epochs(step, per_epoch)[-1:] and nearest else step / per_epoch


class Points:
    """The points of one run, each a folder named after its steps, with PEFT's two files."""

    def __init__(self, folder: Path, plan: TrainPlan, dialogues: int) -> None:
        self.folder, self.plan = folder, plan
        self.total, self.per_epoch = plan.total_steps(dialogues), plan.steps_per_epoch(dialogues)

    def at(self, step: int) -> Path:
        """The folder of the point after `step` steps."""
        return self.folder / str(step)

    def steps(self) -> list[int]:
        """Steps of the points there are, in order."""
        return sorted(int(path.name) for path in self.folder.glob("*") if path.name.isdecimal())

    def is_due(self, step: int) -> bool:
        """Whether a point is kept after `step` steps; what the run ends with becomes its adapter instead.

        Where it may end early nobody knows yet how many there will be: all are, and thinned out as they come.
        """
        if self.plan.early_stop:
            return step in half_epochs(self.total, self.per_epoch)
        return step < self.total and step in point_steps(self.total, self.per_epoch)

    def keep(self, step: int, checkpoint: Path) -> None:
        """Make the adapter of a checkpoint, whose bytes are on the disk, a point, whole or not at all.

        Raises OSError where there is no such checkpoint, or the disk is full.
        """
        if not self.at(step).exists():
            fresh = self.folder / f"writing-{step}"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            for name in ADAPTER_FILES:
                _link(checkpoint / name, fresh / name)
            sync_folder(fresh)
            fresh.rename(self.at(step))
            sync_folder(self.folder)
        if self.plan.early_stop:
            # one more is what is published: the step with the lowest validation loss
            self.drop(set(self.steps()) - {*point_steps(step, self.per_epoch, MOST - 1)})

    def drop(self, steps: set[int]) -> None:
        """Delete these points."""
        for step in steps & {*self.steps()}:
            # renamed first: a half deleted point must not look like one
            shutil.rmtree(self.at(step).rename(self.folder / f"deleting-{step}"))
        if self.folder.exists() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def take_up(self, checkpoints: Checkpoints, done: int) -> None:
        """Go on after `done` steps: delete what killed processes have left and what comes later, and keep what a kill
        behind a checkpoint has left out."""
        for pattern in ("writing-*", "deleting-*"):
            for leftover in self.folder.glob(pattern):
                shutil.rmtree(leftover, ignore_errors=True)
        self.drop({step for step in self.steps() if step > done})
        for step in checkpoints.steps():
            if step <= done and self.is_due(step):
                self.keep(step, checkpoints.at(step))


def _link(source: Path, target: Path) -> None:
    """The same file under another name; where there is no such thing, a copy that is on the disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        sync_file(target)
