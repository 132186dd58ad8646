"""The file of corrections: what stands in it, what takes the place of what, and what no accident takes away."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.data.corrections import read_corrections, with_corrections
from lora_trainer.data.dataset import load_dataset
from lora_trainer.errors import UsageError
from pipeline.run.corrections import Correction, clean, corrections_of, count_corrections, put_right, take_back
from pipeline.run.history import History
from tests.support.project import ROOT

ASKED = {"role": "user", "content": "你好"}
SAID = {"role": "assistant", "content": "在。"}
MORE = {"role": "user", "content": "在看什么？"}


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "runs")


def rows(history: History) -> list[dict[str, Any]]:
    text = corrections_of(history, "fern").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_a_row_teaches_its_last_answer_alone_and_keeps_what_was_rejected(history: History) -> None:
    put_right(history, "fern", Correction((ASKED, SAID, MORE), "诗集。", "书。"))
    put_right(history, "fern", Correction((ASKED,), "在。"))
    assert rows(history) == [
        {
            "messages": [ASKED, {**SAID, "weight": 0}, MORE, {**SAID, "content": "诗集。", "weight": 1}],
            "rejected": "书。",
        },
        {"messages": [ASKED, {**SAID, "weight": 1}]},
    ]  # fmt: skip
    assert count_corrections(corrections_of(history, "fern")) == 2
    assert count_corrections(corrections_of(history, "moss")) == 0


def test_a_later_correction_of_the_same_answer_replaces_it_and_what_the_model_said_stays(history: History) -> None:
    put_right(history, "fern", Correction((ASKED,), "第一次改。", "在。"))
    put_right(history, "fern", Correction((ASKED, SAID, MORE), "别的。", "书。"))
    put_right(history, "fern", Correction((ASKED,), "第二次改。", "第一次改。"))
    assert [row["messages"][-1]["content"] for row in rows(history)] == ["第二次改。", "别的。"]
    assert rows(history)[0]["rejected"] == "在。"
    # kept as it stands now: that is known
    assert put_right(history, "fern", Correction((ASKED,), "第二次改。")) is None
    assert rows(history)[0]["rejected"] == "在。"
    # the model said something else when it was asked again, which was kept
    put_right(history, "fern", Correction((ASKED,), "嗯，在的。"))
    assert "rejected" not in rows(history)[0]


def test_what_is_taken_back_leaves_what_stood_before_it(history: History) -> None:
    path = corrections_of(history, "fern")
    first = put_right(history, "fern", Correction((ASKED,), "第一次改。", "在。"))
    before = path.read_bytes()
    second = put_right(history, "fern", Correction((ASKED,), "第二次改。", "第一次改。"))
    assert first is not None and second is not None
    take_back(history, "fern", second)
    assert path.read_bytes() == before
    take_back(history, "fern", second)  # by now somebody else's
    assert path.read_bytes() == before
    take_back(history, "fern", first)
    assert not path.parent.exists(), "nothing is left where there was nothing"


def test_lines_that_somebody_wrote_by_hand_stay_as_they_are(history: History) -> None:
    path = corrections_of(history, "fern")
    path.parent.mkdir(parents=True)
    own = b'{"instruction": "?", "output": "!"}\r\n\xff broken\n[1]\n{"messages": []}\n{"messages": [1]}'
    path.write_bytes(own)
    put_right(history, "fern", Correction((ASKED,), "好。", "在。"))
    assert path.read_bytes().startswith(own + b"\n") and len(path.read_bytes().splitlines()) == 6


def test_while_somebody_is_at_work_on_the_model_nothing_is_written(history: History) -> None:
    put_right(history, "fern", Correction((ASKED,), "好。", "在。"))
    before = corrections_of(history, "fern").read_bytes()
    with history.lock("fern"), pytest.raises(UsageError) as held:
        put_right(history, "fern", Correction((ASKED,), "更好。", "好。"))
    assert held.value.key == "error.lock.held" and corrections_of(history, "fern").read_bytes() == before


@pytest.mark.posix("SIGKILL")
@pytest.mark.parametrize("moment", ["os.fsync", "pathlib.Path.replace"])
def test_killed_at_any_moment_the_old_file_stands_and_the_next_one_is_written(history: History, moment: str) -> None:
    put_right(history, "fern", Correction((ASKED,), "好。", "在。"))
    before = corrections_of(history, "fern").read_bytes()
    owner, _, name = moment.rpartition(".")
    code = (
        "import os, pathlib, signal, sys\n"
        "from pipeline.run.corrections import Correction, put_right\n"
        "from pipeline.run.history import History\n"
        "import pipeline.run.corrections as corrections\n"
        "write = corrections.write_whole\n"
        "def killed(*_):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"def write_whole(path, content):\n    {owner}.{name} = killed\n    write(path, content)\n"
        "corrections.write_whole = write_whole\n"
        "put_right(History(pathlib.Path(sys.argv[1])), 'fern', Correction(({'role': 'user', 'content': '?'},), 'x'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(history.home)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert corrections_of(history, "fern").read_bytes() == before
    put_right(history, "fern", Correction(({"role": "user", "content": "?"},), "x"))
    assert len(rows(history)) == 2 and not list(history.folder_of("fern").glob("*.new"))


def test_an_answer_is_made_fit_for_a_row() -> None:
    assert clean(" \u200b好\0的\udce4\n呢。 \n") == "好的\n呢。"


# --- beside the rows of the training file


def test_corrections_are_training_rows_behind_the_others_and_never_validate(tmp_path: Path, history: History) -> None:
    lines = [json.dumps({"messages": [{"role": "user", "content": f"{i}"}, SAID]}) for i in range(40)]
    (tmp_path / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    data = load_dataset(tmp_path, system="你是林栀。")
    put_right(history, "fern", Correction((ASKED, SAID, MORE), "诗集。", "书。"))
    put_right(history, "fern", Correction((ASKED,), "在。"))
    found, faults = read_corrections(corrections_of(history, "fern"), data.system)
    with_them = with_corrections(data, found, faults)
    assert data.split and not faults and with_them.corrections == 2
    assert tuple(with_them.val) == tuple(data.val) and tuple(with_them.train[:-2]) == tuple(data.train)
    assert [d.messages[-1]["content"] for d in with_them.train[-2:]] == ["诗集。", "在。"]
    assert {d.system for d in with_them.train} == {"你是林栀。"}
    assert with_them.fingerprint != data.fingerprint


def test_a_fault_in_a_correction_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "corrections.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "?"}]}\n', encoding="utf-8")
    found, (fault,) = read_corrections(path, None)
    assert not found and (fault.file, fault.line) == (str(path), 1)
    assert read_corrections(tmp_path / "none.jsonl", None) == ([], [])


def test_one_that_was_made_anew_takes_the_place_of_the_one_that_a_run_has_learnt(
    history: History, tmp_path: Path
) -> None:
    (tmp_path / "train.jsonl").write_text(json.dumps({"messages": [ASKED, SAID]}), encoding="utf-8")
    data = load_dataset(tmp_path)
    for answer in ("第一次改。", "第二次改。"):
        put_right(history, "fern", Correction((ASKED,), answer, "在。"))
        data = with_corrections(data, read_corrections(corrections_of(history, "fern"), data.system)[0])
    assert [d.messages[-1]["content"] for d in data.train] == ["在。", "第二次改。"] and data.corrections == 1
