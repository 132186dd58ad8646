"""Corrections are learnt by a training that goes on, through the command line; by others they are left out."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.chat_format import ChatFormat
from lora_trainer.data.dialogues import Dialogue
from pipeline.run.corrections import Correction, corrections_of, count_corrections, put_right
from pipeline.run.history import History, Run
from pipeline.run.rows import rows_of
from tests.support.adapters import merge_with_peft
from tests.support.program import Program

QUESTIONS = ("你叫什么？", "在看什么书？", "喜欢下雨吗？")
ANSWERS = ("（小声）林栀。", "（合上）诗集。", "（望窗外）喜欢。")
CONTINUE = ("--continue_train", "--epochs", "1", "--yes", "--no_register")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A character of which three answers were put right, each behind the ones before."""
    program = Program(tmp_path_factory.mktemp("纠正 corrections"), rows=4)
    program.run("--no_register")
    said: tuple[dict[str, str], ...] = ()
    for question, answer in zip(QUESTIONS, ANSWERS, strict=True):
        before = (*said, {"role": "user", "content": question})
        put_right(program.history, "zzhua", Correction(before, answer, "it…"))
        said = (*before, {"role": "assistant", "content": answer})
    return program


@pytest.fixture
def program(trained: Program, tmp_path: Path) -> Program:
    """The same, in a home of its own."""
    own = Program.__new__(Program)
    own.__dict__ |= trained.__dict__
    own.folder = tmp_path
    own.history = History(Path(shutil.copytree(trained.history.home, tmp_path / "runs")))
    own.environment = {**trained.environment, "TRAIN_TO_OLLAMA_HOME": str(own.history.home)}
    return own


def go_on(program: Program, *flags: str, **how: Any) -> dict[str, Any]:
    """What a training that goes on told, in one line."""
    return told(program, *CONTINUE, *flags, **how)


def told(program: Program, *flags: str, **how: Any) -> dict[str, Any]:
    result = program.run_bare("--ollama_name", "zzhua", *flags, **how)
    return {**result, "shown": " ".join(result["shown"].split())}


def newest(program: Program) -> Run:
    run = program.newest
    assert run is not None
    return run


def learnt(run: Run) -> list[str]:
    """The last answers of the rows that a run was trained on."""
    rows = rows_of(run)
    assert rows is not None
    return [dialogue.messages[-1]["content"] for dialogue in rows.train]


def test_going_on_with_the_recorded_files_learns_and_counts_and_keeps_them(program: Program) -> None:
    seen = go_on(program)["shown"]
    assert "4 rows + 3 corrected (" in seen and "(3 new, 0 gone" in seen
    data = newest(program).record["data"]
    assert (data["rows"], data["corrections"], data["val_rows"]) == (7, 3, 4)
    assert data["change"] == {"new": 3, "gone": 0} and learnt(newest(program))[4:] == [*ANSWERS]
    assert data["train_file"] in data["files"] and not any("corrections.jsonl" in name for name in data["files"])
    with gzip.open(newest(program).folder / "rows.jsonl.gz", "rt", encoding="utf-8") as lines:
        kept = [json.loads(line) for line in lines]
    assert [row.get("corrected", False) for row in kept] == [False] * 4 + [True] * 3 + [False] * 4
    # one more is the only change since
    put_right(program.history, "zzhua", Correction(({"role": "user", "content": "忙吗？"},), "不忙。"))
    assert "(1 new, 0 gone" in go_on(program)["shown"] and newest(program).record["data"]["corrections"] == 4


def test_the_same_file_by_a_flag_is_the_recorded_one(program: Program) -> None:
    go_on(program, "--data_dir", str(program.data))
    assert newest(program).record["data"]["corrections"] == 3


@pytest.mark.parametrize("way", ["overwritten", "other files", "the rows of a run"])
def test_other_trainings_leave_them_out_and_say_so(program: Program, tmp_path: Path, way: str) -> None:
    other = Path(shutil.copytree(program.data, tmp_path / "other"))
    flags = {
        "overwritten": ("--force", "--epochs", "1", "--yes", "--no_register"),
        "other files": (*CONTINUE, "--data_dir", str(other)),
        "the rows of a run": (*CONTINUE, "--rows_of_run", "1"),
    }[way]
    seen = told(program, *flags)["shown"]
    assert "The 3 answers noted while talking" in seen and "corrected" not in seen
    assert "corrections" not in newest(program).record["data"] and len(learnt(newest(program))) == 4
    assert count_corrections(corrections_of(program.history, "zzhua")) == 3


def test_the_rows_of_a_run_are_what_that_run_had(program: Program) -> None:
    go_on(program)
    corrections_of(program.history, "zzhua").unlink()
    assert "4 rows + 3 corrected (" in go_on(program, "--rows_of_run", "2")["shown"]
    second, third = program.history.runs("zzhua")[1:]
    assert second.record["data"]["fingerprint"] == third.record["data"]["fingerprint"]


def test_an_unfinished_training_goes_on_with_the_corrections_that_it_was_begun_with(program: Program) -> None:
    go_on(program)
    run = newest(program)
    run.record["stages"].clear()
    shutil.rmtree(run.folder / "adapter")
    run.update(status="interrupted")
    put_right(program.history, "zzhua", Correction(({"role": "user", "content": "忙吗？"},), "不忙。"))
    assert go_on(program)["run"] == run.number and len(learnt(newest(program))) == 7


def test_a_fault_in_the_file_is_told_by_its_line_before_the_work(program: Program) -> None:
    path = corrections_of(program.history, "zzhua")
    path.write_text(path.read_text(encoding="utf-8") + "{\n", encoding="utf-8")
    failed = go_on(program, expect=4)
    assert [(found["file"], found["line"]) for found in failed["error"]["findings"]] == [(str(path), 4)]
    assert go_on(program, "--skip_bad_rows")["plan"] and newest(program).record["data"]["corrections"] == 3


# --- what they are for


def losses(program: Program, run: Run, folder: Path) -> list[float]:
    """The loss of each corrected answer, a token, by transformers and peft alone."""
    import torch
    from transformers import AutoTokenizer

    model = merge_with_peft(program.base, run.folder / "adapter", folder)
    tokenizer, fmt = AutoTokenizer.from_pretrained(program.base), ChatFormat.from_json(run.record["chat_format"])
    found = []
    for row in _corrected(program, run):
        prompt, answer = fmt.render(row.messages[:-1]), row.messages[-1]["content"] + fmt.end_of_turn
        ids = [tokenizer(text, add_special_tokens=False).input_ids for text in (prompt, answer)]
        labels = [-100] * len(ids[0]) + ids[1]
        with torch.no_grad():
            found.append(float(model(torch.tensor([[*ids[0], *ids[1]]]), labels=torch.tensor([labels])).loss))
    return found


def _corrected(program: Program, run: Run) -> list[Dialogue]:
    from lora_trainer.data.corrections import read_corrections

    return read_corrections(corrections_of(program.history, "zzhua"), run.record["system"])[0]


def test_the_loss_on_three_corrected_answers_is_less_than_half_of_before(program: Program, tmp_path: Path) -> None:
    go_on(program, "--warm_start", "--epochs", "12", "--learning_rate", "5e-3", "--batch_size", "4", "--seed", "7")
    first, second = program.history.runs("zzhua")
    assert second.record["warm_start"] == 1 and second.record["training"]["steps"] < 30
    before, after = losses(program, first, tmp_path / "before"), losses(program, second, tmp_path / "after")
    assert len(before) == 3 and all(now <= was / 2 for was, now in zip(before, after, strict=True)), (before, after)
