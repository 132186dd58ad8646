"""Where runs can't be kept: said as such, whatever bars us, and nothing is begun."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.run.history import History
from tests.support.program import Program


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def assert_unusable(program: Program, place: Path) -> None:
    for flags in (("--no_register",), ("--register_only",), ("--no_register", "--resume")):
        told = program.run(*flags, expect=7)
        assert told["error"]["key"] == "error.home.unusable"
        assert str(place) in told["error"]["message"] and "TRAIN_TO_OLLAMA_HOME" in told["error"]["message"]
        assert "bug" not in told["shown"]


def test_a_file_in_the_place_of_the_home_is_told(program: Program) -> None:
    program.history.home.write_text("not a folder", encoding="utf-8")
    assert_unusable(program, program.history.home)
    assert program.run("--history", expect=7)["error"]["key"] == "error.home.unusable"
    status = subprocess.run(
        [sys.executable, "-m", "wizard.status"], env=program.environment, capture_output=True, encoding="utf-8"
    )
    assert status.returncode == 0 and "TRAIN_TO_OLLAMA_HOME" in status.stdout and "Traceback" not in status.stderr


def test_a_file_in_the_place_of_a_models_folder_bars_that_model_alone(program: Program) -> None:
    program.history.home.mkdir()
    (program.history.home / "zzhua").write_text("not a folder", encoding="utf-8")
    assert_unusable(program, program.history.home / "zzhua")
    History(program.history.home).begin("other", plan={}, request={})
    assert program.history.names() == ["other"]


def test_a_folder_in_the_place_of_a_models_lock_is_told(program: Program) -> None:
    (program.history.home / "zzhua" / "lock").mkdir(parents=True)
    assert_unusable(program, program.history.home / "zzhua" / "lock")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A file system that nothing can be written to."""
    folder = tmp_path / "read only"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_home_on_a_read_only_file_system_is_told_and_can_still_be_read(program: Program, read_only: Path) -> None:
    program.environment["TRAIN_TO_OLLAMA_HOME"] = str(read_only)
    assert_unusable(program, read_only)
    assert program.run("--history")["runs"] == []
