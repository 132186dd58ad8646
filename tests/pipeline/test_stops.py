"""Ctrl-C at every stage: what is said is true, nothing is lost, and the same command goes on."""

from __future__ import annotations

import shutil

import pytest

from ollama_export.server.client import OllamaClient
from tests.ollama_server.server import OllamaServer
from tests.support.launcher import DDP, launcher
from tests.support.preloaded import programs
from tests.support.program import Program

pytestmark = pytest.mark.posix("POSIX signals")

FLAGS = ("--epochs", "2", "--lora_dropout", "0.1", "--yes")
"""12 rows in steps of four: three an epoch, evaluated after 2, 3, 5 and 6."""
NOTHING, UNSAVED = "Stopped before the training began", "not one step was done"
TRAINED, UNPROVEN = "The training is done, the export is not", "Trained and exported, but not yet proven"
EXPORTED, PUBLISHED = "Trained and exported, but not yet in Ollama", "The model is in Ollama"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An undisturbed run's folder."""
    folder = tmp_path_factory.mktemp("whole")
    with OllamaServer(folder / "models") as server:
        Program(folder, server.url, rows=12).run(*FLAGS)
    return folder


@pytest.fixture
def program(tmp_path):
    with OllamaServer(tmp_path / "models") as server:
        yield Program(tmp_path, server.url, rows=12)


def interrupted(program: Program, moment: str, *more: str, times: int = 1) -> str:
    """What is shown by a run that hears Ctrl-C at that moment."""
    output = program.folder / "output.txt"
    output.write_text("", encoding="utf-8")
    words = program.command(*FLAGS, *more)[2:]
    whole = {"environment": program.environment, "cwd": str(program.folder)}
    code = programs().run(words, stdout=output, stderr=output, watcher=f"stop {moment} {times}", **whole)
    assert code == 130, program.output()
    return program.output()


def trained(program: Program) -> tuple[list[list[float]], list[list[float]], bytes]:
    training = program.newest.record["training"]
    adapter = program.newest.folder / training["adapter"] / "adapter_model.safetensors"
    return training["losses"], training["val_losses"], adapter.read_bytes()


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("Check:base_model", NOTHING),
        ("Check:rehearsal_ollama", NOTHING),
        ("Doing:libraries", UNSAVED),
        ("Doing:model", UNSAVED),
        ("EvaluationBegun:0", UNSAVED),
        ("StepBegun:1", UNSAVED),
        ("StepBegun:5", "Stopped after step 4 of 6 (66%)"),
        ("StepDone:5", "Stopped after step 5 of 6 (83%)"),
        ("EvaluationBegun:3", "Stopped after step 3 of 6 (50%)"),
        ("Saving:2", "Stopped after step 2 of 6 (33%)"),
        ("EvaluationBegun:6", "Stopped after step 6 of 6 (100%)"),
        ("StageDone:train", TRAINED),
        ("Progress:export", TRAINED),
        ("Doing:engine", EXPORTED),
        ("Progress:upload", EXPORTED),
        ("Progress:create", EXPORTED),
        ("Progress:prove", EXPORTED),
    ],
)
def test_a_stop_is_told_as_it_is_and_the_same_command_finishes(program, whole, moment, said):
    shown = interrupted(program, moment)
    assert said in shown and "Traceback" not in shown, shown
    assert OllamaClient(program.environment["OLLAMA_HOST"]).tags() == [] or "Progress" in moment
    assert not list(program.folder.rglob("*.part"))
    finished = {name: stage["finished"] for name, stage in _stages(program).items()}
    told = program.run(*FLAGS)
    assert told["run"] == 1 and told["status"] == "done"
    assert trained(program) == trained(Program(whole, rows=12))
    # what was done is not done again
    assert {name: _stages(program)[name]["finished"] for name in finished} == finished
    names = [model["name"] for model in OllamaClient(program.environment["OLLAMA_HOST"]).tags()]
    assert names == ["zzhua:latest"]


def _stages(program: Program) -> dict:
    return program.newest.record["stages"] if program.newest else {}


def test_the_second_control_c_aborts_at_once(program, whole):
    shown = interrupted(program, "StepBegun:5", times=2)
    # the last checkpoint is that of the evaluation before: nothing was written any more
    assert "Stopped after step 3 of 6 (50%)" in shown
    program.run(*FLAGS)
    assert trained(program) == trained(Program(whole, rows=12))


def test_without_ollama_what_is_left_is_the_proof(tmp_path):
    program = Program(tmp_path, rows=12)
    assert UNPROVEN in interrupted(program, "Doing:engine", "--no_register")


def test_a_run_that_goes_on_is_told_of_as_it_stands_wherever_it_is_stopped_again(program):
    interrupted(program, "StepBegun:5")
    for moment in ("Check:base_model", "Doing:model", "StepBegun:5"):
        assert "Stopped after step 4 of 6 (66%)" in interrupted(program, moment)


def test_the_model_that_stood_is_untouched_by_any_stop(whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    with OllamaServer(tmp_path / "models") as server:
        program, client = Program(tmp_path, server.url, rows=12), OllamaClient(server.url)
        before = client.digest("zzhua")
        more = ("--continue_train", "--strategy", "retune", "--lora_rank", "4")
        for moment in ("StepBegun:3", "Progress:upload"):
            interrupted(program, moment, *more)
            assert client.digest("zzhua") == before
        program.run(*FLAGS, *more)
        assert client.digest("zzhua") not in (None, before)


def test_several_processes_stop_at_the_same_step_though_one_alone_was_asked(tmp_path):
    program = Program(tmp_path, rows=12)
    watched = ["-m", "tests.support.watchers", "stop StepBegun:4 1", *program.command(*FLAGS, "--no_register")[2:]]
    process = program.begin([*launcher(*DDP), *watched])
    assert process.wait() != 0
    # the launcher itself says in its own way that a process has ended with 130
    assert "Stopped after step 4 of 6 (66%)" in program.output(), program.output()
    assert program.run(*FLAGS, "--no_register")["status"] == "done"
