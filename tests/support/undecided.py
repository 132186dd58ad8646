"""A run that is trained, exported and proven, and not decided about: put back before every conversation about it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ollama_export.server.client import OllamaClient
from pipeline.run.history import Run
from tests.support.character import Character, look_at_machine
from tests.support.ollama_fixture import running_ollama


class Undecided:
    """`character` has a run that waits, `number`; the first one of its name, or behind one that stands."""

    def __init__(self, character: Character) -> None:
        self.character = character
        self.client = OllamaClient(character.server.url)
        self._home = character.program.history.home
        self._kept = character.program.folder / "kept"
        self.run.update(status="waiting", publishing={})
        self.stood = self.client.digest(character.name)
        shutil.copytree(self._home, self._kept)

    def restore(self) -> Undecided:
        """Put back the home, and the model that stood."""
        shutil.rmtree(self._home)
        shutil.copytree(self._kept, self._home)
        for name in {model["name"] for model in self.client.tags()} - {"keep:latest"}:
            if name.partition(":")[0] == self.character.name:
                self.client.delete(name)
        if self.stood is not None:
            self.client.copy("keep", self.character.name)
        return self

    @property
    def run(self) -> Run:
        """The newest run, as its record has it now."""
        newest = self.character.program.history.newest(self.character.name)
        assert newest is not None
        return newest

    @property
    def stands(self) -> str | None:
        """The digest of what stands under the name."""
        return self.client.digest(self.character.name)

    @property
    def models(self) -> list[str]:
        """The names in Ollama, but for the one that is kept to be put back."""
        return sorted(model["name"] for model in self.client.tags() if model["name"] != "keep:latest")


def keep_points(run: Run, *steps: int) -> None:
    """Let a run have points along the way, as a training leaves them: its own adapter, under each step's name, with
    weights of its own; and its end.
    """
    training, total = run.record["training"], run.record["training"]["steps"]
    per_epoch = total / run.plan.epochs
    points = []
    for number, step in enumerate(steps):
        folder = run.folder / "points" / str(step)
        shutil.copytree(run.folder / training["adapter"], folder)
        _scale(folder / "adapter_model.safetensors", 0.5 + 0.1 * number)
        said = [{"question": "在干嘛？", "answer": f"第 {step} 步的回答。", "stopped": True}]
        points.append(_point(step, step / per_epoch, f"points/{step}", 3.0 - 0.1 * number, said))
    points.append(_point(total, run.plan.epochs, "adapter", 3.5, []))
    # as of a training that has learnt something: nothing else is recommended then than to publish
    losses = [(step, 4.0 - 2.0 * step / total) for step, _ in training["losses"]]
    run.update(training={**training, "points": points, "losses": losses})


def _point(step: int, epochs: float, adapter: str, loss: float, samples: list[dict[str, object]]) -> dict[str, object]:
    known = {"step": step, "epochs": epochs, "adapter": adapter, "samples": samples}
    return {**known, "val_loss": loss, "general_loss": None}


def _scale(weights: Path, factor: float) -> None:
    from safetensors.torch import load_file, save_file

    save_file({name: tensor * factor for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})


@contextmanager
def undecided(folder: Path, *, stood: bool) -> Iterator[Undecided]:
    """A run of 2.0 epochs that waits, with points after 0.5 and 1.0; `stood`: beside a run that stands."""
    with running_ollama() as server:
        character = Character(folder, server)
        flags = ("--epochs", "2", "--no_register")
        if stood:
            character.train()
            OllamaClient(server.url).copy(character.name, "keep")
            flags = ("--continue_train", "--strategy", "augment", *flags)
        character.train(*flags)
        look_at_machine(character.program)
        found = character.program.history.newest(character.name)
        assert found is not None
        per_epoch = found.record["training"]["steps"] // 2
        keep_points(found, per_epoch // 2, per_epoch)
        yield Undecided(character)
