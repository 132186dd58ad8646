"""A run that was trained in one home, for tests of how it comes to another one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lora_trainer.data.dataset import load_dataset
from pipeline.run.rows import keep_rows
from pipeline.travel.packing import pack
from tests.support.older import older_program
from tests.support.program import Program


@pytest.fixture(scope="session")
def there(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The rented machine: no Ollama, a run of one epoch that is trained, exported and proven."""
    program = Program(tmp_path_factory.mktemp("租的 card"), rows=8)
    program.run("--no_register", "--temperature", "0.3", "--note", "更自然")
    return program


@pytest.fixture(scope="session")
def packed(there: Program) -> Path:
    """Its run as --pack makes it."""
    return Path(there.run_bare("--pack", "--ollama_name", "zzhua")["file"])


@pytest.fixture
def parcel(packed: Path, tmp_path: Path) -> Path:
    """A copy of it for each test."""
    return Path(shutil.copyfile(packed, tmp_path / "zzhua 包.zip"))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole parcel that needs no training: a run that an older version made, with its rows."""
    program = older_program(tmp_path_factory.mktemp("旧的 older"))
    run = program.history.runs("zzhua")[0]
    keep_rows(run.folder, load_dataset(program.data))
    return pack(run, program.history, program.folder)
