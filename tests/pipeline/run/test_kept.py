"""What a model keeps from run to run, and what of it has changed."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.data.dataset import Dataset, load_dataset
from lora_trainer.errors import DataError
from lora_trainer.plan import TrainPlan
from pipeline.request import Request
from pipeline.run.history import History, Run
from pipeline.run.kept import PROGRAM, portable, take_over
from pipeline.run.rows import Change, change_since, keep_rows, rows_of


def write(folder: Path, *answers: str, file: str = "train.jsonl", system: str = "你是林栀。") -> Path:
    folder.mkdir(exist_ok=True)
    rows = [
        {"messages": [{"role": "system", "content": system}, {"role": "user", "content": "?"},
                      {"role": "assistant", "content": answer}]}
        for answer in answers
    ]  # fmt: skip
    (folder / file).write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return folder / file


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "runs")


def recorded(history: History, data: Dataset, **values: Any) -> Run:
    """A run that learnt these rows."""
    files = {portable(Path(name)): facts for name, facts in data.files.items()}
    train_file, *others = files
    facts = {"fingerprint": data.fingerprint, "files": files, "train_file": train_file, "split": data.split}
    given: dict[str, Any] = {"plan": TrainPlan(seed=7).to_json(), "system": data.system, "system_source": "rows"}
    given |= {"quantize": "f16", "parameters": {}, "keep_chat_template": False, "request": {}}
    run = history.begin("fern", data={**facts, "val_file": others[0] if others else None}, **{**given, **values})
    keep_rows(run.folder, data)
    return run


def test_a_model_keeps_its_files_until_a_flag_names_others(tmp_path: Path, history: History) -> None:
    train, val = write(tmp_path / "mine", "a", "b"), write(tmp_path / "mine", "c", file="val.jsonl")
    run = recorded(history, load_dataset(tmp_path / "mine"))
    taken = take_over(Request(), run)
    assert (taken.request.train_file, taken.request.val_file) == (train, val)
    assert (taken.sources["data"], taken.seed, taken.other_data) == ("record", 7, None)
    other = take_over(Request(data_dir=tmp_path / "other", seed=1), run)
    assert (other.request.data_dir, other.request.train_file) == (tmp_path / "other", None)
    assert (other.sources["data"], other.seed, other.other_data) == ("flag", 1, str(train))
    assert take_over(Request(), None).sources["data"] == "default"


@pytest.mark.parametrize("gone", ["train.jsonl", "val.jsonl"])
def test_files_that_are_gone_are_missed_and_no_others_taken(tmp_path: Path, history: History, gone: str) -> None:
    write(tmp_path / "mine", "a")
    write(tmp_path / "mine", "c", file="val.jsonl")
    run = recorded(history, load_dataset(tmp_path / "mine"))
    (tmp_path / "mine" / gone).unlink()
    with pytest.raises(DataError) as missed:
        take_over(Request(), run)
    assert missed.value.key == "error.data.recorded_gone"
    assert (missed.value.values["file"], missed.value.values["number"]) == (tmp_path / "mine" / gone, 1)
    assert take_over(Request(rows_of_run=1), run).request.rows_of_run == 1


def test_a_path_inside_the_program_is_recorded_as_it_is_from_there() -> None:
    assert portable(PROGRAM / "data" / "fern" / "train.jsonl") == "data/fern/train.jsonl"
    assert portable(Path("/elsewhere/train.jsonl")) == Path("/elsewhere/train.jsonl").absolute().as_posix()


@pytest.mark.parametrize(
    ("source", "kept", "none"), [("flag", "You are Fern.", False), ("none", None, True), ("rows", None, False)]
)
def test_a_chosen_prompt_is_kept_and_one_of_the_rows_is_theirs(
    tmp_path: Path, history: History, source: str, kept: str | None, none: bool
) -> None:
    write(tmp_path / "mine", "a")
    run = recorded(history, load_dataset(tmp_path / "mine"), system="You are Fern.", system_source=source)
    taken = take_over(Request(), run)
    assert (taken.request.system, taken.request.no_system) == (kept, none)
    assert take_over(Request(system="x"), run).request.system == "x"
    assert take_over(Request(no_system=True), run).request.system is None


def test_an_older_record_says_by_its_flags_who_chose_the_prompt(tmp_path: Path, history: History) -> None:
    write(tmp_path / "mine", "a")
    data = load_dataset(tmp_path / "mine")
    for request, kept in (({"system": "x"}, "你是林栀。"), ({}, None)):
        run = recorded(history, data, request=request)
        del run.record["system_source"]
        assert take_over(Request(), run).request.system == kept


def test_rows_that_changed_since_are_counted(tmp_path: Path, history: History) -> None:
    write(tmp_path / "mine", "a", "b", "b", "c")
    data = load_dataset(tmp_path / "mine")
    run = recorded(history, data)
    assert change_since(run, data) == replace(change_since(run, data), new=0, gone=0)  # type: ignore[type-var]
    write(tmp_path / "mine", "a", "b", "d", "e", "f")
    change = change_since(run, load_dataset(tmp_path / "mine"))
    assert change is not None and (change.new, change.gone) == (3, 2)
    (run.folder / "rows.jsonl.gz").write_bytes(b"broken")
    assert change_since(run, data) is None


def test_the_rows_of_a_run_are_its_data_set_again(tmp_path: Path, history: History) -> None:
    write(tmp_path / "mine", "a", "嗯\n", "c")
    write(tmp_path / "mine", "v", file="val.jsonl")
    data = load_dataset(tmp_path / "mine")
    run = recorded(history, data)
    again = rows_of(run)
    assert again is not None and again.fingerprint == data.fingerprint
    assert (tuple(again.train), tuple(again.val), again.system) == (tuple(data.train), tuple(data.val), data.system)
    before = (run.folder / "rows.jsonl.gz").read_bytes()
    keep_rows(run.folder, data)
    assert (run.folder / "rows.jsonl.gz").read_bytes() == before


def test_answers_that_arent_learnt_are_not_learnt_from_the_rows_of_a_run_either(
    tmp_path: Path, history: History
) -> None:
    talk = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "嗯", "weight": 0}]
    later = [{"role": "user", "content": "!"}, {"role": "assistant", "content": "在的"}]
    path = write(tmp_path / "mine")
    path.write_text(json.dumps([{"messages": [*talk, *later]}, {"messages": later}]), encoding="utf-8")
    data = load_dataset(tmp_path / "mine")
    run = recorded(history, data)
    again = rows_of(run)
    assert again is not None and again.fingerprint == data.fingerprint
    assert tuple(again.train) == tuple(data.train)
    assert (again.train[0].unlearnt, again.train[0].unit, again.statistics()["turns"]) == ((0,), "row", 2)
    # the rows that are kept are a training file
    (tmp_path / "kept.jsonl").write_bytes(gzip.decompress((run.folder / "rows.jsonl.gz").read_bytes()))
    assert load_dataset(tmp_path, train_file=tmp_path / "kept.jsonl").fingerprint == data.fingerprint
    path.write_text(path.read_text(encoding="utf-8").replace('"weight": 0', '"weight": 1'), encoding="utf-8")
    assert change_since(run, load_dataset(tmp_path / "mine")) == Change(new=1, gone=1)
