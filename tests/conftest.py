"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ollama_server.server import OllamaServer
from tests.ollama_server.tiny_gguf import make_tiny_gguf
from tests.support.ollama_fixture import TestOllama, running_ollama


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


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny llama with SmolLM2's tokenizer (see tests/ollama_server/tiny_gguf.py). Not to be written to."""
    return make_tiny_gguf(tmp_path_factory.mktemp("tiny-gguf") / "tiny.gguf")
