"""What people have is trained on as it is, and what is wrong with it is told in their words."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from pipeline.run.rows import rows_of
from tests.support.program import Program


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "家 home", rows=4)


def test_a_gbk_table_is_trained_on_as_it_is(program: Program) -> None:
    cells = [f'"第 {number} 问，好吗？","（点头）好，\n第 {number} 次。"' for number in range(24)]
    table = program.folder / "聊天.csv"
    table.write_bytes(("问,答\n" + "\n".join(cells)).encode("gb18030"))
    done = program.run("--train_file", str(table), "--data_dir", str(program.folder), "--no_register")
    assert "GBK" in done["shown"]
    run = program.newest
    rows = rows_of(run) if run else None
    assert rows is not None and (len(rows.train), len(rows.val)) == (22, 2)
    assert rows.train[0].messages[-1]["content"].startswith("（点头）好，\n第")


def test_marks_and_thoughts_are_told_before_the_work(program: Program) -> None:
    talk = [
        {"role": "developer", "content": "You are Fern."},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "no", "weight": 0},
        {"role": "user", "content": "and?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "7"},
        {"role": "assistant", "content": "<think>well</think>yes"},
    ]
    rows = [{"messages": [*talk[:2], {**talk[2], "content": f"no {number}"}, *talk[3:]]} for number in range(6)]
    path = program.folder / "fine-tuning.json"
    path.write_text(json.dumps([*rows, {"messages": talk[:3]}], indent=2), encoding="utf-8")
    shown = program.run("--train_file", str(path), "--yes", "--dry_run")["shown"]
    assert "6 answers are marked as not to be learned" in shown
    assert "6 answers had a thought before them" in shown
    assert "12 turns that call tools" in shown
    assert "1 dialogues have no answer that is to be learned" in shown
    assert "6 dialogues, 6 answers" in shown


def test_faults_are_told_by_the_row_where_a_file_has_no_lines(program: Program) -> None:
    import pyarrow
    from pyarrow import parquet

    written = io.BytesIO()
    parquet.write_table(pyarrow.table({"prompt": ["a", "b", "c"], "response": ["d", "<think>e", " "]}), written)
    (program.data / "train.jsonl").write_bytes(written.getvalue())
    shown = program.run("--yes", "--dry_run", expect=4)["shown"]
    assert "train.jsonl row 2  " in shown and "begins with <think>" in shown
    assert "train.jsonl row 3  " in shown


def test_a_control_token_of_the_base_model_is_a_fault_of_its_row(program: Program) -> None:
    path = program.data / "train.jsonl"
    rows = path.read_text(encoding="utf-8").splitlines()
    odd = {"prompt": "a", "completion": "b <|im_start|> c"}
    path.write_text("\n".join([*rows, json.dumps(odd)]), encoding="utf-8")
    shown = program.run("--yes", "--no_register", expect=4)["shown"]
    assert f"train.jsonl:{len(rows) + 1}  " in shown and "<|im_start|>, a control token" in shown
    skipped = program.run("--yes", "--no_register", "--skip_bad_rows")["shown"]
    assert "Skipped 1 dialogues with a control token" in skipped and "dialogues of more than" not in skipped
