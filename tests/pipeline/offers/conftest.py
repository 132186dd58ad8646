"""What the tests of offers share: dialogues, a machine, and the record of a real tiny training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_trainer.data.dataset import Dataset, load_dataset
from lora_trainer.engine.hardware import Hardware
from pipeline.offers.machine import Machine
from tests.support.train_tiny import dialogues

GIGABYTE = 10**9


def machine(free: float = 8, total: float = 16, **speeds: float) -> Machine:
    """A processor with so many GB, and speeds by hidden size ("h64": flop/s)."""
    hardware = Hardware("cpu", "float32", "test", int(total * GIGABYTE), int(free * GIGABYTE))
    return Machine(hardware, {int(size[1:]): speed for size, speed in speeds.items()})


def write_rows(folder: Path, train: int, val: int = 4) -> Dataset:
    """Short talks as files, read as the program reads them."""
    folder.mkdir(exist_ok=True)
    for name, count, start in (("train", train, 0), ("val", val, 100)):
        rows = [{"messages": list(talk.messages)} for talk in dialogues(count, start)]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return load_dataset(folder)


@pytest.fixture
def rows(tmp_path: Path) -> Dataset:
    """24 training and 4 validation dialogues."""
    return write_rows(tmp_path / "data", 24)
