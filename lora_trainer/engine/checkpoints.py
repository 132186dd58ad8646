"""Checkpoints on disk: whole or not there, whenever the process is killed.

A checkpoint is written into a folder of another name and renamed when it is complete.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from file_formats.durable import sync_file, sync_folder
from file_formats.errors import BrokenFile
from file_formats.safetensors import read_head

_PREFIX = "checkpoint-"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
PATIENCE = 4
"""Evaluations without a new best one after which early stopping gives up: two epochs' worth, in longer runs."""


class Checkpoints:
    """The checkpoints of one run, each named after the optimizer steps done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writing = folder / "writing"
        """Where the Trainer writes; a leftover of a killed process is never read."""

    def at(self, step: int) -> Path:
        """The folder of the checkpoint after `step` steps."""
        return self.folder / f"{_PREFIX}{step}"

    def steps(self) -> list[int]:
        """Steps of the checkpoints there are, in order."""
        names = (path.name.removeprefix(_PREFIX) for path in self.folder.glob(f"{_PREFIX}*"))
        return sorted(int(name) for name in names if name.isdigit())

    def history(self, step: int) -> list[dict[str, Any]]:
        """What was logged up to that checkpoint: `step` with `loss` or `eval_loss` in each entry.

        Raises OSError where there is no such checkpoint.
        """
        state = json.loads((self.at(step) / "trainer_state.json").read_text(encoding="utf-8"))
        entries: list[dict[str, Any]] = state["log_history"]
        return entries

    def read(self, step: int) -> dict[str, bytes]:
        """All files of a checkpoint, by name; raises OSError where there is no such checkpoint."""
        return {path.name: path.read_bytes() for path in self.at(step).iterdir()}

    def write(self, step: int, files: Mapping[str, bytes]) -> None:
        """A checkpoint from what `read` gave, perhaps on another machine."""
        written = self.writing / f"{_PREFIX}{step}"
        written.mkdir(parents=True)
        for name, content in files.items():
            (written / name).write_bytes(content)
        self.complete(step)

    def complete(self, step: int) -> None:
        """Give the checkpoint that has just been written its name, once its bytes are on the disk."""
        written = self.writing / f"{_PREFIX}{step}"
        _sync(written)
        if self.at(step).exists():
            shutil.rmtree(self.at(step))
        written.rename(self.at(step))
        sync_folder(self.folder)

    def prune(self, keep: Iterable[int]) -> None:
        """Delete all checkpoints but the newest two and those named."""
        for step in set(self.steps()[:-2]) - set(keep):
            # renamed first: a half deleted checkpoint must not look like one
            doomed = self.at(step).rename(self.folder / f"deleting-{step}")
            shutil.rmtree(doomed)

    def adopt(self, checkpoint: Path, step: int) -> None:
        """Take another run's checkpoint as this run's own; raises OSError where it can't be copied."""
        shutil.copytree(checkpoint, self.writing / f"{_PREFIX}{step}")
        self.complete(step)

    def keep_only(self, *steps: int) -> None:
        """Delete all checkpoints but these, and what a killed process was deleting.

        Of a run that is done, only a longer run wants any.
        """
        for other in set(self.steps()) - {*steps}:
            shutil.rmtree(self.at(other).rename(self.folder / f"deleting-{other}"))
        self._finish_deleting()

    def clear(self, *, all_of_them: bool) -> None:
        """Delete what killed processes have left, or everything."""
        if all_of_them and self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.writing, ignore_errors=True)
        self._finish_deleting()

    def _finish_deleting(self) -> None:
        for leftover in self.folder.glob("deleting-*"):
            shutil.rmtree(leftover, ignore_errors=True)


def best_step(history: Sequence[dict[str, Any]]) -> int | None:
    """The evaluated step with the lowest validation loss (the earliest of equals), the base model left out."""
    evaluated = [entry for entry in history if "eval_loss" in entry and entry["step"] > 0]
    return min(evaluated, key=lambda entry: entry["eval_loss"])["step"] if evaluated else None


def is_evaluated(history: Sequence[dict[str, Any]], step: int) -> bool:
    """Whether the validation loss after `step` steps is known."""
    return any(entry["step"] == step and "eval_loss" in entry for entry in history)


def has_given_up(history: Sequence[dict[str, Any]]) -> bool:
    """Whether PATIENCE evaluations in a row have come after the best one."""
    best = best_step(history)
    return best is not None and sum("eval_loss" in entry and entry["step"] > best for entry in history) >= PATIENCE


def publish_adapter(checkpoint: Path, adapter: Path) -> None:
    """Copy a checkpoint's adapter (PEFT's two files) to `adapter`, whole or not at all, and wait for the disk.

    So a power cut leaves whole what a record then calls trained. Raises OSError where the checkpoint isn't there, or
    the disk is full.
    """
    fresh, old = (adapter.with_name(f"{adapter.name}.{end}") for end in ("new", "old"))
    for folder in (fresh, old):
        shutil.rmtree(folder, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in ADAPTER_FILES:
        shutil.copyfile(checkpoint / name, fresh / name)
    _sync(fresh)
    if adapter.exists():
        adapter.rename(old)
    fresh.rename(adapter)
    sync_folder(adapter.parent)
    shutil.rmtree(old, ignore_errors=True)


def adapter_fault(adapter: Path) -> str | None:
    """What is wrong with an adapter's two files: missing, empty or cut short; None where both are whole."""
    config, weights = (adapter / name for name in ADAPTER_FILES)
    try:
        json.loads(config.read_text(encoding="utf-8"))
        read_head(weights)
    except BrokenFile as broken:
        return f"{weights.name}: {broken.reason}"
    except OSError as error:
        return f"{Path(error.filename or adapter).name}: {error.strerror or error}"
    except ValueError as error:
        return f"{config.name}: {error}"
    return None


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        sync_file(path)
    sync_folder(folder)
