"""Killed, interrupted, out of disk, Ollama gone: the old model answers on, and the same command finishes the job."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import requests

from ollama_export.server.client import OllamaClient
from pipeline.run.history import History
from tests.ollama_server.server import OllamaServer
from tests.support.program import Program, wait_for


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A program whose model `zzhua` is published already; its server and records are copied for each test."""
    folder = tmp_path_factory.mktemp("published")
    with OllamaServer(folder / "models") as server:
        Program(folder, server.url, rows=40).run()
    return folder


@pytest.fixture
def server(published, tmp_path):
    shutil.copytree(published, tmp_path, dirs_exist_ok=True)
    with OllamaServer(tmp_path / "models") as server:
        yield server


@pytest.fixture
def program(server, tmp_path):
    return Program(tmp_path, server.url, rows=40)


@pytest.fixture
def old(server):
    """The digest of the model that worked."""
    return OllamaClient(server.url).digest("zzhua")


AGAIN = ("--continue_train", "--lora_rank", "4", "--epochs", "6")


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def killed(program: Program, moment: str, *more: str) -> None:
    """A run that was killed at that moment."""
    kill(program.start_up_to(moment, *AGAIN, *more))
    program.gate.unlink()


def assert_old_model_answers(server: OllamaServer, old: str) -> None:
    client = OllamaClient(server.url)
    assert client.digest("zzhua") == old
    assert client.chat("zzhua", [{"role": "user", "content": "在吗"}], num_predict=4).tokens > 0


def assert_finished(program: Program, server: OllamaServer, old: str) -> None:
    """The second run is recorded once, as a whole, published, and the old model is its backup."""
    assert [run.record["status"] for run in program.history.runs("zzhua")] == ["done", "done"]
    record = program.newest.record
    assert [step for step, _ in record["training"]["losses"]] == list(range(1, record["training"]["steps"] + 1))
    client = OllamaClient(server.url)
    assert client.digest("zzhua") == record["ollama"]["digest"] != old
    assert client.digest(record["ollama"]["backup"]) == old
    names = sorted(model["name"] for model in client.tags())
    assert names == sorted(["zzhua:latest", record["ollama"]["backup"]])


def test_a_kill_during_training_goes_on_from_its_checkpoint(program, server, old):
    killed(program, "CheckpointSaved")
    assert_old_model_answers(server, old)
    assert not program.newest.has_done("train")
    told = program.run(*AGAIN)
    assert "Going on" in told["shown"] and "step 1/60" not in told["shown"]
    assert_finished(program, server, old)


def test_a_kill_during_conversion_exports_again_without_training(program, server, old):
    killed(program, "Progress:export")
    assert_old_model_answers(server, old)
    trained = program.newest.record["stages"]["train"]
    assert not program.newest.has_done("export")
    program.run(*AGAIN)
    assert program.newest.record["stages"]["train"] == trained
    assert_finished(program, server, old)


def test_what_was_begun_without_registering_is_registered_where_it_goes_on(program, server, old):
    killed(program, "Progress:export", "--no_register")
    trained = program.newest.record["stages"]["train"]
    program.run(*AGAIN)
    assert program.newest.record["stages"]["train"] == trained
    assert_finished(program, server, old)


def test_what_was_begun_to_be_registered_may_go_on_without(program, server, old):
    killed(program, "Progress:export")
    trained = program.newest.record["stages"]["train"]
    told = program.run(*AGAIN, "--no_register")
    assert told["run"] == 2 and told["ollama"] is None and list(Path(told["folder"]).glob("*.gguf"))
    assert program.newest.record["stages"]["train"] == trained and program.newest.is_done
    assert_old_model_answers(server, old)


@pytest.mark.parametrize(
    ("path", "method", "at", "done"),
    [
        ("/api/blobs", "POST", 2, set()),  # the first one is the rehearsal's
        ("/api/copy", "POST", 1, {"staged", "proven"}),
        ("/api/copy", "POST", 2, {"staged", "proven", "backed_up"}),
        ("/api/delete", "DELETE", 2, {"staged", "proven", "backed_up", "swapped"}),
    ],
    ids=["during the upload", "after staging", "between backup and swap", "after the swap"],
)
def test_a_kill_while_publishing_finishes_without_training(program, server, old, path, method, at, done):
    fault = server.faults.add("hold", path, at, method=method)
    process = program.start(*AGAIN)
    wait_for(fault.befallen.is_set, process)
    kill(process)
    server.faults.clear()
    if "swapped" not in done:
        assert_old_model_answers(server, old)
    assert set(program.newest.record["publishing"]) == {"staging", *done}
    trained = program.newest.record["stages"]["train"]
    program.run(*AGAIN)
    assert program.newest.record["stages"]["train"] == trained
    assert_finished(program, server, old)


@pytest.mark.posix("POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_in_training_ends_with_a_checkpoint_and_130(program, server, old, number):
    process = program.start_up_to("StepDone:5", *AGAIN)
    process.send_signal(number)
    program.gate.unlink()
    assert process.wait() == 130
    assert "Run the same command again" in program.output()
    assert_old_model_answers(server, old)
    assert program.newest.record["status"] == "interrupted"
    program.run(*AGAIN)
    assert_finished(program, server, old)


@pytest.mark.parametrize(
    ("kind", "path", "at", "code"),
    [
        ("die", "/api/create", 2, 5),
        ("die_during", "/api/blobs", 4, 5),  # HEAD and POST of the rehearsal, then of the model
        ("die_after", "/api/copy", 1, 5),
        ("die", "/api/copy", 2, 5),
        ("full", "/api/create", 2, 7),
    ],
)
def test_an_ollama_that_dies_or_has_no_room_loses_nothing(program, server, old, kind, path, at, code):
    server.faults.add(kind, path, at)
    told = program.run(*AGAIN, expect=code)
    assert told["error"]["key"].startswith("error.ollama"), told
    if not server.alive:
        server.start()
    server.faults.clear()
    assert_old_model_answers(server, old)
    trained = program.newest.record["stages"]["train"]
    program.run(*AGAIN)
    assert program.newest.record["stages"]["train"] == trained
    assert_finished(program, server, old)


@pytest.mark.parametrize(
    ("moment", "kilobytes"),
    [
        ("StageStarted:train", 4),
        ("StageStarted:train", 60),
        ("CheckpointSaved", 40),
        ("StageDone:train", 8),
        ("StageDone:train", 60),
    ],
)
def test_a_full_disk_is_said_plainly_and_nothing_is_lost(tmp_path, small_disk, moment, kilobytes):
    folder, leave_free = small_disk
    program = Program(tmp_path, rows=40)
    program.environment["TRAIN_TO_OLLAMA_HOME"] = str(folder)
    program.history = History(folder)
    flags = ("--no_register", "--epochs", "6")
    process = program.start_up_to(moment, *flags)
    leave_free(kilobytes)
    program.gate.unlink()
    assert process.wait() == 7, program.output()
    assert "disk" in program.output() and "Traceback" not in program.output()
    leave_free(400_000)
    told = program.run(*flags, "--resume")
    assert told["status"] == "done" and list(Path(told["folder"]).glob("*.gguf"))
    assert [run.number for run in program.history.runs("zzhua")] == [1]


def test_the_stand_in_is_alive(server):
    assert requests.get(server.url, timeout=10).text == "Ollama is running"
