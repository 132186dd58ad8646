"""Models to talk to: a character that was trained once, in a home of its own for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.run.history import History
from tests.ollama_server.server import OllamaServer
from tests.support.program import Program


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A run that was trained and exported, and never put into Ollama."""
    program = Program(tmp_path_factory.mktemp("talking"), rows=4)
    program.run("--no_register", "--temperature", "0.3")
    return program


class Talking:
    """A copy of that run's home, and the Ollama that it is talked to in."""

    def __init__(self, made: Program, folder: Path, ollama: OllamaServer | None) -> None:
        self.program, self.ollama = made, ollama
        self.history = History(Path(shutil.copytree(made.history.home, folder / ("in-ollama" if ollama else "runs"))))
        self.environment = {
            **made.environment,
            "TRAIN_TO_OLLAMA_HOME": str(self.history.home),
            "OLLAMA_HOST": ollama.url if ollama else made.environment["OLLAMA_HOST"],
        }
        if ollama:
            made.run_bare("--ollama_name", "zzhua", "--register_only", environment=self.environment)


@pytest.fixture
def unregistered(made: Program, tmp_path: Path) -> Talking:
    """No Ollama at all."""
    return Talking(made, tmp_path, None)


@pytest.fixture
def registered(made: Program, tmp_path: Path, ollama_server: OllamaServer) -> Iterator[Talking]:
    """The run's model stands in an Ollama, and its file is gone."""
    yield Talking(made, tmp_path, ollama_server)
