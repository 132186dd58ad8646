"""Which requests are the same one, and what a recorded run becomes when it is taken up again."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.plan import TrainPlan
from pipeline.job import going_on, identity, register_again
from pipeline.request import Request
from pipeline.run.history import History, Run

TOLD: tuple[dict[str, Any], ...] = (
    {"yes": True},
    {"json": True},
    {"lang": "en"},
    {"debug": True},
    {"dry_run": True},
    {"resume": True},
    {"restart": True},
    {"keep_gguf": True},
    {"llama_cpp": Path("llama.cpp")},
    {"no_register": True},
    {"register_only": True},
    {"no_backup": True},
    {"keep_backups": 3},
    {"history": True},
    {"rollback": True},
    {"verify": True},
)
"""How a run is told or ends."""
MADE: tuple[dict[str, Any], ...] = (
    {"ollama_name": "zzhua"},
    {"base_model": "base"},
    {"data_dir": Path("elsewhere")},
    {"train_file": Path("train.jsonl")},
    {"val_file": Path("val.jsonl")},
    {"skip_bad_rows": True},
    {"system": "你是林栀。"},
    {"no_system": True},
    {"on_exists": "continue"},
    {"continue_train": True},
    {"force": True},
    {"strategy": "retune"},
    {"add_epochs": 1.5},
    {"from_scratch": True},
    {"warm_start": True},
    {"epochs": 3.0},
    {"ladder": "1,2"},
    {"learning_rate": 1e-4},
    {"lora_rank": 16},
    {"lora_alpha": 8.0},
    {"lora_dropout": 0.0},
    {"batch_size": 2},
    {"max_length": 512},
    {"seed": 0},
    {"scheduler": "cosine"},
    {"early_stop": True},
    {"qlora": True},
    {"no_qlora": True},
    {"quantize": "f16"},
    {"temperature": 0.0},
    {"top_p": 0.0},
    {"top_k": 0},
    {"repeat_penalty": 0.0},
    {"num_ctx": 4096},
    {"keep_chat_template": True},
    {"register_only": True, "run": 2},
)
"""What comes out of it."""
OTHERS = {"ollama_name": "zzhua", "epochs": 3.5}


def only(row: dict[str, Any]) -> str:
    return next(reversed(row))


@pytest.mark.parametrize("flags", TOLD, ids=only)
def test_a_run_goes_on_with_and_without_what_only_presents_it(flags: dict[str, Any]) -> None:
    assert identity(Request(**flags)) == identity(Request())
    assert identity(Request(**OTHERS, **flags)) == identity(Request(**OTHERS))


@pytest.mark.parametrize("flags", MADE, ids=only)
def test_a_request_for_something_else_is_another_one_also_where_it_asks_for_zero(flags: dict[str, Any]) -> None:
    assert identity(Request(**flags)) != identity(Request())
    assert identity(Request(**flags)) == identity(Request(**flags))


def test_every_flag_is_known_to_make_or_to_present() -> None:
    assert sorted(map(only, (*TOLD, *MADE))) == sorted(field.name for field in fields(Request))


def test_a_path_is_the_same_one_from_wherever_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    near = identity(Request(data_dir=Path("../data")))
    monkeypatch.chdir(tmp_path)
    assert near == identity(Request(data_dir=Path("data"))) == identity(Request(data_dir=tmp_path / "data"))
    assert near["data_dir"] == str(tmp_path / "data")


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


def finished(history: History, **values: Any) -> Run:
    """A run that was published with a temperature, as q8_0."""
    given = {"plan": TrainPlan(epochs=3.5).to_json(), "base": {"source": "base"}, "strategy": "incremental"}
    more = {"overwrite": False, "parent": None, "parameters": {"temperature": 0.7, "top_k": 20}, "quantize": "q8_0"}
    run = history.begin("zzhua", **{**given, **more, "rolled_back": "2026-01-01", **values})
    for stage in ("train", "export", "prove", "publish"):
        run.mark_done(stage, 1)
    run.update(status="done", publishing={"staged": {}})
    return run


def test_registering_again_publishes_the_same_file_again(history: History) -> None:
    run = finished(history)
    register_again(run, Request(register_only=True))
    (found,) = history.runs("zzhua")
    assert sorted(found.record["stages"]) == ["export", "prove", "train"]
    assert found.record["parameters"] == {"temperature": 0.7, "top_k": 20} and found.record["quantize"] == "q8_0"
    # what was staged once is gone, and who stands again was not rolled back
    assert found.record["publishing"] == {} and "rolled_back" not in found.record


@pytest.mark.parametrize(
    ("flags", "parameters", "quantize"),
    [
        ({"temperature": 0.0}, {"temperature": 0.0, "top_k": 20}, "q8_0"),
        ({"top_p": 0.5}, {"temperature": 0.7, "top_k": 20, "top_p": 0.5}, "q8_0"),
        ({"top_k": 0}, {"temperature": 0.7, "top_k": 0}, "q8_0"),
        ({"repeat_penalty": 1.2}, {"temperature": 0.7, "top_k": 20, "repeat_penalty": 1.2}, "q8_0"),
        ({"num_ctx": 4096}, {"temperature": 0.7, "top_k": 20, "num_ctx": 4096}, "q8_0"),
        ({"quantize": "f16"}, {"temperature": 0.7, "top_k": 20}, "f16"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) and len(value) == 1 else "",
)
def test_registering_again_with_other_serving_exports_anew_and_keeps_what_is_not_spoken_of(
    history: History, flags: dict[str, Any], parameters: dict[str, Any], quantize: str
) -> None:
    run = finished(history)
    register_again(run, Request(register_only=True, **flags))
    (found,) = history.runs("zzhua")
    assert (found.record["parameters"], found.record["quantize"]) == (parameters, quantize)
    assert sorted(found.record["stages"]) == ["prove", "train"]


def test_a_run_goes_on_as_its_record_has_it_whatever_the_flags_say(history: History) -> None:
    first = finished(history)
    run = finished(history, parent=1, overwrite=True, strategy=None)
    job = going_on(run, Request(ollama_name="zzhua", base_model="another", epochs=9.0), history, None)
    assert (job.plan.epochs, job.base_source, job.strategy, job.overwrite) == (3.5, "base", None, True)
    assert job.previous is not None and job.previous.folder == first.folder
    assert job.run is run and job.client is None
    assert going_on(first, Request(), history, None).previous is None


def test_a_ladder_finds_its_rungs_by_itself(history: History) -> None:
    assert going_on(finished(history), Request(ladder="1,2"), history, None).run is None
