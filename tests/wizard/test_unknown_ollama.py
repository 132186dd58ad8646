"""An Ollama that can't be asked: what it has is unknown, not absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ollama_server.server import OllamaServer
from tests.support.older import older_program
from tests.support.program import Program
from tests.support.terminal import CTRL_C, ENTER, Terminal

UNKNOWN = "isn't known whether “zzhua” is in it"


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """One whose records say that its model was put into Ollama, which isn't running now."""
    found = older_program(tmp_path)
    run = found.newest
    assert run is not None and run.is_published
    return found


def question(program: Program, *, down: bool = False) -> str:
    """What stands on the screen when the wizard asks what to do with the model, in one line."""
    flags = ["train_to_ollama.py", "--ollama_name", "zzhua", "--data_dir", str(program.data)]
    with Terminal(flags, environment=program.environment, columns=200) as terminal:
        if down:
            terminal.wait_for("There is no Ollama. What now?").send(ENTER)
        terminal.wait_for("Overwrite")
        screen = terminal.everything
        terminal.send(CTRL_C)
        assert terminal.finish() == 3
    return " ".join(screen.split())


def test_a_model_is_not_called_unregistered_by_an_ollama_that_is_down(program: Program) -> None:
    asked = question(program, down=True)
    assert "zzhua was trained before. Training 2" in asked
    assert "isn't in Ollama yet" not in asked


def test_a_model_that_ollama_does_not_have_is_called_unregistered(
    program: Program, ollama_server: OllamaServer
) -> None:
    program.environment["OLLAMA_HOST"] = ollama_server.url
    asked = question(program)
    assert "zzhua was trained, but isn't in Ollama yet" in asked and UNKNOWN not in asked


def test_a_script_is_told_too_and_a_decision_is_asked_for(program: Program) -> None:
    told = program.run(expect=2)
    assert UNKNOWN in told["shown"] and told["error"]["key"] == "error.decision_needed"


def test_whether_there_is_something_to_continue_is_not_guessed(program: Program) -> None:
    # Ollama may have it: that it isn't running is the fault, not the name.
    told = program.run("--ollama_name", "other", "--continue_train", expect=5)
    assert told["error"]["key"].startswith("error.ollama.")
    told = program.run("--ollama_name", "other", "--continue_train", "--no_register", expect=2)
    assert told["error"]["key"] == "error.nothing_to_continue_unasked"
