"""A run whose record is broken is told and passed over; nothing else of the model's is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.run.history import History, Run
from tests.support.older import older_program
from tests.support.program import Program

BROKEN = {
    "empty": "",
    "of zeros": "\0" * 4096,
    "cut": '{"schema": 1, "name": "zzh',
    "another value": "[]",
    "without its fields": "{}",
}


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return older_program(tmp_path)


def break_record(run: Run | None, content: str) -> Path:
    assert run is not None
    (run.folder / "run.json").write_text(content, encoding="utf-8")
    return run.folder


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_record_is_listed_with_the_adapter_that_is_still_there(program: Program, content: str) -> None:
    folder = break_record(program.newest, content)
    told = program.run("--history")
    assert [(run["run"], run["status"]) for run in told["runs"]] == [(1, "done"), (2, "broken")]
    assert told["runs"][1]["adapter"] == str(folder / "adapter") and told["runs"][1]["reason"]
    for said in ("run 2 of “zzhua” is broken", str(folder / "run.json"), str(folder / "adapter")):
        assert said in told["shown"]
    # Also where nothing of the model can be read any more, and all models are listed.
    break_record(program.history.newest("zzhua"), content)
    assert not program.history.names()
    everything = program.run("--ollama_name", "zzhua", "--history")
    assert [run["status"] for run in everything["runs"]] == ["broken", "broken"]
    assert "No runs yet" not in everything["shown"]


def test_a_broken_record_is_told_also_where_nothing_else_is_left(tmp_path: Path) -> None:
    history = History(tmp_path)
    folder = break_record(history.begin("me/zzhua:v2"), "")
    (broken,) = history.broken("me/zzhua:v2")
    assert (broken.name, broken.number, broken.folder, broken.adapter) == ("me/zzhua:v2", 1, folder, None)
    assert history.broken() == [broken] and history.names() == []


def test_a_broken_run_is_not_continued_and_its_number_is_not_given_again(program: Program) -> None:
    folder = break_record(program.newest, "")
    told = program.run("--no_register", "--continue_train", "--add_epochs", "0.25")
    assert "run 2 of “zzhua” is broken" in told["shown"]
    run = program.newest
    assert run is not None and (run.number, run.record["parent"]) == (3, 1) and run.plan.epochs == 1.25
    assert (folder / "run.json").read_text(encoding="utf-8") == "" and (folder / "adapter").is_dir()
    assert "no adapter is left" not in told["shown"]


def test_a_run_that_was_killed_before_its_first_record_is_nothing_to_tell_of(program: Program) -> None:
    folder = program.history.home / "zzhua" / "3"
    folder.mkdir()
    (folder / "run.json.new").write_text('{"schema"', encoding="utf-8")
    told = program.run("--history")
    assert [run["status"] for run in told["runs"]] == ["done", "done"] and "broken" not in told["shown"]


def test_a_record_takes_what_json_has_no_word_for(tmp_path: Path) -> None:
    history = History(tmp_path)
    undecodable = "caf\udce9"
    values = {"path": Path("/a/b"), "names": {"x"}, "error": ValueError("odd"), "file": undecodable}
    history.begin("zzhua", error={"key": "error.x", "values": values})
    (run,) = history.runs("zzhua")
    assert run.record["error"]["values"] == {"path": "/a/b", "names": "{'x'}", "error": "odd", "file": undecodable}
