"""What the checks train: a small model in a folder, as people have base models, and rows for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.gpu.data import Rows, Writer
from bench.gpu.ours import hardware_of
from bench.gpu.shapes import SHAPES, SMALL, Shape, random_model
from lora_trainer.engine.hardware import Hardware
from lora_trainer.models.source import BaseModel
from lora_trainer.plan import TrainPlan

PLAN = TrainPlan(epochs=1.0, batch_size=4, learning_rate=1e-3)


@dataclass(frozen=True)
class Setup:
    """One machine's checks; all that they write goes into `folder`."""

    device: str
    folder: Path
    tiny: bool = False
    devices: int = 1
    """How many there are of its kind."""

    @cached_property
    def hardware(self) -> Hardware:
        """The device, with the type that the program computes in here."""
        return hardware_of(self.device)

    @property
    def shape(self) -> Shape:
        """The sizes of the base model."""
        return SHAPES["tiny"] if self.tiny else SMALL

    def rows(self, count: int = PLAN.batch_size) -> Rows:
        """So many dialogues, one step's by default."""
        return Writer(self.shape.vocabulary).rows(count)

    def long_row(self) -> Rows:
        """One dialogue, so long that its activations are most of what a step takes."""
        return Writer(self.shape.vocabulary).long_row(200 if self.tiny else 2000)

    @cached_property
    def base(self) -> BaseModel:
        """The base model, in bfloat16 as most are: so all types begin with the same weights."""
        import torch

        path = self.folder / "base"
        if not path.exists():
            random_model(self.shape, "cpu", "float32").to(torch.bfloat16).save_pretrained(path)
        return BaseModel("small", "folder", path, "", "Qwen2ForCausalLM", self.shape.parameters)


def stir(model: Any) -> None:
    """Give all adapters values that depend on neither type nor device; where B is zero, as at first, A has no gradient.

    Each adapter then adds a fifth or so to its layer's output.
    """
    import torch

    generator = torch.Generator().manual_seed(1)
    for name, parameter in sorted(model.named_parameters()):
        if "lora_" in name:
            spread = 0.05 if "lora_B" in name else 0.6 * parameter.shape[1] ** -0.5
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * spread)
