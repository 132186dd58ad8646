"""A run that is trained and exported once, for all tests of what becomes of it; a disk that is soon full."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ollama_export.server.client import OllamaClient
from pipeline.run.history import History, Run
from tests.ollama_server.server import OllamaServer
from tests.support.program import Program

SmallDisk = tuple[Path, Callable[[int], None]]
"""Its folder, and what leaves only so many kilobytes free on it."""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of one run, trained and exported without Ollama."""
    program = Program(tmp_path_factory.mktemp("trained"), rows=4)
    program.run("--no_register", "--temperature", "0.3")
    return program.history.home


@pytest.fixture
def history(trained: Path, tmp_path: Path) -> History:
    """A copy of it for each test."""
    return History(Path(shutil.copytree(trained, tmp_path / "runs")))


@pytest.fixture
def run(history: History) -> Run:
    return history.runs("zzhua")[0]


@pytest.fixture
def client(each_ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> OllamaClient:
    monkeypatch.setenv("OLLAMA_HOST", each_ollama.url)
    return OllamaClient()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A file system of its own, and a function that leaves only so many kilobytes free on it."""
    folder = tmp_path / "small"
    folder.mkdir()

    def mount(options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True, capture_output=True)

    def leave_free(kilobytes: int) -> None:
        used = shutil.disk_usage(folder).used // 1024
        mount(f"remount,size={used + kilobytes}k")

    try:
        mount("size=400m")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a small file system")
    yield folder, leave_free
    subprocess.run(["umount", str(folder)], check=True)
