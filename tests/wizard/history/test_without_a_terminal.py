"""`--history` and `--note` in scripts: a table, one run's details, all of it as JSON; a note on a run that is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.errors import UsageError
from pipeline.request import Request
from tests.support.past_runs import NAME, record_run, record_runs
from tests.support.project import ROOT
from wizard.screen.layout import cells


def entry(home: Path, *flags: str, expect: int = 0, **environment: str) -> str:
    """What the program says on stdout."""
    said = {"TRAIN_TO_OLLAMA_HOME": str(home), "OLLAMA_HOST": "127.0.0.1:9", "TRAIN_TO_OLLAMA_LANG": "zh"}
    done = subprocess.run(
        [sys.executable, "train_to_ollama.py", *flags],
        cwd=ROOT,
        env={**os.environ, **said, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


def told(home: Path, *flags: str, expect: int = 0) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(entry(home, *flags, "--json", expect=expect))
    return values


@pytest.mark.parametrize("columns", [60, 80])
def test_a_pipe_gets_the_table_of_every_model_and_nothing_waits(tmp_path: Path, columns: int) -> None:
    record_runs(tmp_path)
    record_run(tmp_path, "2026-11-20T11:30:00+00:00", 2.0, name="parrot")
    lines = entry(tmp_path, "--history", COLUMNS=str(columns)).splitlines()
    assert [line for line in lines if line.startswith("📋")] == ["📋 linzhi", "📋 parrot"]
    assert max(map(cells, lines)) <= columns and not any("\x1b" in line for line in lines)
    assert sum("增量 +1.5" in line for line in lines) == 1 and any("≠2.41" in line for line in lines)


def test_one_runs_details_need_no_terminal(tmp_path: Path) -> None:
    record_runs(tmp_path)
    shown = entry(tmp_path, "--history", "--ollama_name", NAME, "--run", "4")
    assert "linzhi 第 4 次" in shown and "第 1.0 轮最低，2.38" in shown and "增量 +1.5" not in shown
    assert told(tmp_path, "--history", "--ollama_name", NAME, "--run", "9", expect=2)["error"]["key"] == (
        "error.no_such_run"
    )
    assert [run["run"] for run in told(tmp_path, "--history", "--ollama_name", NAME, "--run", "4")["runs"]] == [4]


def test_json_has_all_of_it(tmp_path: Path) -> None:
    runs = record_runs(tmp_path)
    listed = told(tmp_path, "--history")["runs"]
    assert [run["run"] for run in listed] == [1, 2, 3, 4, 5]
    assert [run["stands"] for run in listed] == [None] * 5
    assert [run["comparable"] for run in listed] == [True, True, False, True, True]
    assert [run["note"] for run in listed] == [None, None, "自然", "背答案，话也太多了，下次少练一点", None]
    recorded = json.loads((runs[2].folder / "run.json").read_text(encoding="utf-8"))
    assert all(listed[2][name] == recorded[name] for name in ("comparison", "card", "created"))
    assert listed[3]["points"] == runs[3].record["training"]["points"]
    assert listed[3]["samples"] == runs[3].record["training"]["samples"]
    assert (listed[3]["status"], listed[3]["val_loss"], listed[3]["general_loss"]["after"]) == ("declined", 3.02, 3.52)
    assert (listed[2]["rows"], listed[2]["val_rows"], listed[2]["change"]) == (87, 14, {"new": 25, "gone": 2})
    assert len({frozenset(run) for run in listed}) == 1, "the fields of all are the same"


def test_a_note_goes_to_the_run_that_is_named_or_the_newest(tmp_path: Path) -> None:
    record_runs(tmp_path)
    assert told(tmp_path, "--ollama_name", NAME, "--note", " 最近\n一次\x1b ")["run"] == 5
    assert told(tmp_path, "--ollama_name", NAME, "--run", "2", "--note", "第二次")["note"] == "第二次"
    assert [run["note"] for run in told(tmp_path, "--history")["runs"]][1::3] == ["第二次", "最近 一次"]
    assert "第二次" in entry(tmp_path, "--history")
    assert "「linzhi」第 2 次的备注：好" in entry(tmp_path, "--ollama_name", NAME, "--run", "2", "--note", "好")


def test_a_note_that_can_not_be_written_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    assert told(tmp_path, "--ollama_name", "nosuch", "--note", "x", expect=2)["error"]["key"] == "error.nothing_to_note"
    assert list(tmp_path.iterdir()) == []
    record_runs(tmp_path)
    refused = told(tmp_path, "--ollama_name", NAME, "--note", "字" * 201, expect=2)["error"]
    assert refused["key"] == "error.flag.note_long" and "200" in refused["message"]
    assert told(tmp_path, "--ollama_name", NAME, "--note", "x", "--run", "9", expect=2)["error"]["key"] == (
        "error.no_such_run"
    )


def test_a_note_beside_flags_of_a_training_belongs_to_that() -> None:
    assert Request(ollama_name="zzhua", note="x").only_notes
    assert Request(ollama_name="zzhua", note="x", run=3, json=True, lang="en", debug=True).only_notes
    for flags in ({"yes": True}, {"epochs": 3.0}, {"continue_train": True}, {"register_only": True}, {"resume": True}):
        assert not Request(ollama_name="zzhua", note="x", **flags).only_notes, flags
    assert not Request(note="x").only_notes and not Request(ollama_name="zzhua").only_notes


@pytest.mark.parametrize(
    "flags",
    [
        {"run": 3},
        {"run": 3, "history": True},
        {"run": 3, "note": "x", "yes": True, "ollama_name": "zzhua"},
        {"note": "x", "history": True},
        {"note": "x", "rollback": True},
        {"note": "x", "verify": True},
    ],
    ids=str,
)
def test_flags_that_can_not_be_meant_together_are_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Request(**flags)
