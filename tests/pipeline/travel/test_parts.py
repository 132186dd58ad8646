"""What else of a run travels: the point that stands, the adapter that it began with, answers that were compared."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.data.dataset import fingerprint, load_dataset
from lora_trainer.data.dialogues import Dialogues
from lora_trainer.plan import TrainPlan
from pipeline.outcome.answers import comparison_of
from pipeline.request import Request
from pipeline.run.beginnings import first_adapter_record
from pipeline.run.history import History, Run
from pipeline.run.rows import keep_rows, rows_of
from pipeline.travel.adopting import adopt
from pipeline.travel.archive import opened
from pipeline.travel.fitting import read_record
from pipeline.travel.packing import base_name, pack
from tests.support.older import older_program
from tests.support.past_runs import compared


@pytest.fixture
def there(tmp_path: Path) -> tuple[History, Run]:
    """A home of an older version's two runs, and the second of them with its rows."""
    program = older_program(tmp_path / "那边 there")
    run = program.history.runs("zzhua")[1]
    keep_rows(run.folder, load_dataset(program.data))
    return program.history, run


def taken(parcel: Path, history: History, name: str = "zzhua") -> Run:
    def base() -> dict[str, Any]:
        return dict(record["base"])

    with opened(parcel) as archive, history.lock(name):
        record = read_record(archive)
        return adopt(archive, record, name, history, base)


def test_the_point_that_stands_travels_with_its_adapter_and_the_others_stay(
    there: tuple[History, Run], tmp_path: Path
) -> None:
    history, run = there
    steps = run.record["training"]["steps"]
    for step in (1, 2):
        shutil.copytree(run.folder / "adapter", run.folder / "points" / str(step))
    points = [{"step": step, "epochs": step / 4, "adapter": f"points/{step}", "samples": []} for step in (1, 2)]
    points.append({"step": steps, "epochs": 1.5, "adapter": "adapter", "samples": []})
    published = {"digest": "a", "gguf": None, "finished": "1", "order": 1, "host": "http://secret:11434"}
    published["point"] = {"step": 2, "epochs": 0.5}
    run.update(training={**run.record["training"], "points": points}, publications=[published], ollama=published)
    parcel = pack(run, history, tmp_path)
    with zipfile.ZipFile(parcel) as packed:
        names = packed.namelist()
        assert "secret" not in packed.read("run.json").decode()
    assert "points/2/adapter_model.safetensors" in names and not any(name.startswith("points/1/") for name in names)
    here = taken(parcel, History(tmp_path / "runs"))
    assert here.point == {"step": 2, "epochs": 0.5} and here.taught.epochs == 0.5
    assert [point["adapter"] for point in here.record["training"]["points"]] == ["points/2", "adapter"]
    assert (here.adapter(here.point) / "adapter_model.safetensors").is_file()


def test_a_warm_start_brings_the_adapter_that_it_began_with(there: tuple[History, Run], tmp_path: Path) -> None:
    history, run = there
    run.update(warm_start=1, request={**run.record["request"], "from_run": 1})
    began = (history.runs("zzhua")[0].folder / "adapter" / "adapter_model.safetensors").read_bytes()
    parcel = pack(run, history, tmp_path)
    home = History(tmp_path / "runs")
    first = taken(parcel, home)
    assert (first.record["warm_start"], first.record["warm_start_adapter"], first.record["parent"]) == (
        1,
        "begun_with",
        None,
    )
    assert (first.folder / "begun_with" / "adapter_model.safetensors").read_bytes() == began
    assert "from_run" not in first.identity and first.record["data"]["rows_of_run"] == 1
    # added epochs are added to what that one had learned; a warm start begins with this run's own
    plan = TrainPlan.from_json(first.record["plan"])
    more = first_adapter_record(Request(continue_train=True), "incremental", plan, first)
    assert more == {"warm_start": 1, "warm_start_adapter": "begun_with"}
    assert first_adapter_record(Request(warm_start=True), "incremental", plan, first) == {"warm_start": 1}
    # and so does a run that was taken in travel on
    with zipfile.ZipFile(pack(first, home, tmp_path)) as packed:
        assert packed.read("begun_with/adapter_model.safetensors") == began


def test_answers_that_were_compared_are_this_runs_here(there: tuple[History, Run], tmp_path: Path) -> None:
    history, run = there
    run.update(**compared(2, {"在吗？": "（低头）在。"}, {"在吗？": "您好！"}, other=1))
    run = history.runs("zzhua")[1]
    home = History(tmp_path / "runs")
    home.begin("other")
    here = taken(pack(run, history, tmp_path), home, "other")
    comparison = comparison_of(here.record)
    assert here.number == 2 and comparison is not None and comparison.before is not None
    assert (comparison.after.name, comparison.after.run) == ("other", 2)
    assert (comparison.before.kind, comparison.before.run) == ("ollama", None)


def test_the_same_run_is_the_same_bytes_and_takes_no_name_that_is_taken(
    there: tuple[History, Run], tmp_path: Path
) -> None:
    history, run = there
    first, second = pack(run, history, tmp_path), pack(run, history, tmp_path)
    assert (first.name, second.name) == ("zzhua-2.zip", "zzhua-2-2.zip")
    assert first.read_bytes() == second.read_bytes()
    assert not list(tmp_path.glob("*.new"))


def test_answers_that_arent_learnt_travel_as_such(there: tuple[History, Run], tmp_path: Path) -> None:
    history, run = there
    rows = rows_of(run)
    assert rows is not None
    turns = [{"role": role, "content": role} for role in ("user", "assistant")] * 2
    marked = replace(rows.train[0], messages=tuple(turns), unlearnt=(0,), unit="row")
    train = (marked, *rows.train[1:])
    keep_rows(run.folder, replace(rows, train=Dialogues(train)))
    run.update(data={**run.record["data"], "fingerprint": fingerprint(train, rows.val, rows.system)})
    here = rows_of(taken(pack(run, history, tmp_path), History(tmp_path / "runs")))
    assert here is not None and here.train[0] == replace(marked, file=here.train[0].file)


def test_a_run_without_rows_travels_too(there: tuple[History, Run], tmp_path: Path) -> None:
    history, run = there
    (run.folder / "rows.jsonl.gz").unlink()
    here = taken(pack(run, history, tmp_path), History(tmp_path / "runs"))
    assert here.record["data"]["rows_of_run"] is None
    assert json.loads((here.folder / "run.json").read_text(encoding="utf-8"))["adopted"]["number"] == 2


@pytest.mark.parametrize(
    ("source", "revision", "name"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", "a" * 40, "Qwen/Qwen2.5-0.5B-Instruct"),
        ("modelscope:Qwen/Qwen3-0.6B", "b" * 64, "modelscope:Qwen/Qwen3-0.6B"),
        ("ollama:qwen2.5:0.5b", "c" * 64, "ollama:qwen2.5:0.5b"),
        ("/root/models/Qwen2.5-7B/", "d" * 64, "Qwen2.5-7B"),
        ("C:\\Users\\我\\model.gguf", "e" * 64, "model.gguf"),
    ],
)
def test_of_a_base_model_its_name_travels(source: str, revision: str, name: str) -> None:
    assert base_name(source, revision) == name
