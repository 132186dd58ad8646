"""Runs that an older version made: their folder opens, is continued, verified and rolled back."""

from __future__ import annotations

from pathlib import Path

import pytest

from ollama_export.server.client import OllamaClient
from pipeline.run.standing import look
from tests.ollama_server.server import OllamaServer
from tests.support.older import older_program
from tests.support.program import Program


@pytest.fixture
def program(tmp_path: Path, ollama_server: OllamaServer) -> Program:
    return older_program(tmp_path, ollama_server.url)


def test_an_older_versions_runs_are_listed_registered_verified_continued_and_rolled_back(program: Program) -> None:
    client = OllamaClient(program.environment["OLLAMA_HOST"])
    listed = program.run("--history")["runs"]
    assert [(run["run"], run["strategy"], run["plan"]["epochs"]) for run in listed] == [
        (1, None, 1.0),
        (2, "incremental", 1.5),
    ]

    for number in (1, 2):
        program.run("--register_only", "--run", str(number), "--yes")
    second = client.digest("zzhua")
    assert client.show("zzhua")["system"] == "你是林栀。"
    assert program.run("--verify")["run"] == 2

    went_on = program.run("--continue_train", "--add_epochs", "0.5", "--yes")
    assert (went_on["run"], went_on["plan"]["epochs"], went_on["plan"]["lora_rank"]) == (3, 2.0, 2)
    assert client.digest("zzhua") not in (None, second)
    assert program.run("--verify")["run"] == 3

    program.run("--rollback")
    assert client.digest("zzhua") == second
    run = look(program.history, "zzhua", client).run
    assert run is not None and run.number == 2
