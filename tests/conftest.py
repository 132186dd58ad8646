"""Fixtures for all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ollama_server.releases import OLDEST
from tests.ollama_server.server import OllamaServer
from tests.ollama_server.tiny_gguf import make_tiny_gguf
from tests.support.ollama_fixture import TestOllama, running_ollama

# What the person at this terminal has set for the program (and quick_start.sh, which also starts the tests, for what it
# starts) isn't meant for the runs of the tests: each sets what it needs.
for name in [name for name in os.environ if name.startswith("TRAIN_TO_OLLAMA_")]:
    del os.environ[name]


HERE = {"posix": os.name == "posix", "linux": sys.platform == "linux"}
"""What a test may need of a system, by the marker that says so, and whether this one has it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Pass over tests that need another system; their markers say for what."""
    for item in items:
        for mark in item.iter_markers():
            if not HERE.get(mark.name, True):
                item.add_marker(pytest.mark.skip(reason=" ".join([f"needs {mark.name}:", *map(str, mark.args)])))


@pytest.fixture
def ollama() -> Iterator[TestOllama]:
    """An Ollama with nothing of this test in it: the stand-in, or the real one that TEST_OLLAMA_HOST names."""
    with running_ollama() as found:
        yield found


@pytest.fixture
def ollama_server(tmp_path: Path) -> Iterator[OllamaServer]:
    """Always the stand-in, with its faults and its store at hand: for what can't be done to a real one."""
    with OllamaServer(tmp_path / "ollama-models") as server:
        yield server


RELEASES = os.environ.get("TEST_OLLAMA_RELEASES", "0.33,0.34").split(",")
"""Whose rules the stand-in keeps in the tests of publishing; TEST_OLLAMA_RELEASES=0.33,0.34,0.40 for all three."""


@pytest.fixture(params=["real"] if os.environ.get("TEST_OLLAMA_HOST") else RELEASES)
def either_ollama(request: pytest.FixtureRequest) -> Iterator[TestOllama]:
    """As `ollama`, the stand-in once by the rules of each line of releases."""
    with running_ollama(OLDEST.name if request.param == "real" else request.param) as found:
        yield found


@pytest.fixture(params=RELEASES)
def each_ollama(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OllamaServer]:
    """As `ollama_server`, once by the rules of each line of releases."""
    with OllamaServer(tmp_path / "ollama-models", release=request.param) as server:
        yield server


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny llama with SmolLM2's tokenizer (see tests/ollama_server/tiny_gguf.py). Not to be written to."""
    return make_tiny_gguf(tmp_path_factory.mktemp("tiny-gguf") / "tiny.gguf")
