"""Which requests are the same one, and what a recorded run becomes when it is taken up again."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.data.dataset import Dataset
from lora_trainer.data.dialogues import Dialogues
from lora_trainer.plan import TrainPlan
from pipeline.flags import FLAGS
from pipeline.job import going_on
from pipeline.request import ALONE, Request
from pipeline.run.history import History, Run

TOLD: tuple[dict[str, Any], ...] = (
    {"ollama_name": "zzhua"},
    {"yes": True},
    {"json": True},
    {"lang": "en"},
    {"debug": True},
    {"dry_run": True},
    {"resume": True},
    {"restart": True},
    {"on_exists": "continue"},
    {"continue_train": True},
    {"force": True},
    {"keep_gguf": True},
    {"llama_cpp": Path("llama.cpp")},
    {"no_register": True},
    {"register_only": True},
    {"register_only": True, "run": 2},
    {"register_only": True, "point": 2.5},
    {"no_backup": True},
    {"keep_backups": 3},
    {"compare": True},
    {"no_compare": True},
    {"history": True},
    {"pack": True},
    {"adopt": Path("run.zip")},
    {"clean": True},
    {"data_desk": True},
    {"data_desk": True, "draft_by": "qwen2.5:3b"},
    {"mend": True},
    {"compare_only": True},
    {"chat": True},
    {"note": "更自然"},
    {"rollback": True},
    {"verify": True},
    {"report": True},
    {"samples": 1},
    {"import_": (Path("chat.txt"),)},
    {"import_": (Path("chat.txt"),), "character": "林栀"},
    {"import_": (Path("chat.txt"),), "pause": 60.0},
    {"import_": (Path("chat.csv"),), "columns": "user=问"},
    {"import_": (Path("chat.txt"),), "drop_words": "密码"},
    {"import_": (Path("chat.txt"),), "private_names": "小明"},
    {"import_": (Path("chat.txt"),), "keep_private": True},
)
"""How a run is told, what it replaces, and how it ends."""
SERVED: tuple[dict[str, Any], ...] = (
    {"quantize": "f16"},
    {"temperature": 0.0},
    {"top_p": 0.0},
    {"top_k": 0},
    {"min_p": 0.0},
    {"repeat_penalty": 0.0},
    {"num_ctx": 4096},
    {"keep_chat_template": True},
    {"no_keep_chat_template": True},
)
"""How the trained model is served."""
FOUND: tuple[dict[str, Any], ...] = (
    {"base_model": "base"},
    {"data_dir": Path("elsewhere")},
    {"train_file": Path("train.jsonl")},
    {"val_file": Path("val.jsonl")},
    {"skip_bad_rows": True},
)
"""Where something lies, which is compared by what it is."""
TRAINED: tuple[dict[str, Any], ...] = (
    {"rows_of_run": 1},
    {"system": "你是林栀。"},
    {"no_system": True},
    {"thoughts": "train"},
    {"strategy": "retune"},
    {"add_epochs": 1.5},
    {"from_run": 1},
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
)
"""What is learnt."""
OTHERS: dict[str, Any] = {"batch_size": 3}


def only(row: dict[str, Any]) -> str:
    return next(reversed(row))


@pytest.mark.parametrize("flags", [*TOLD, *SERVED, *FOUND], ids=only)
def test_a_run_goes_on_with_and_without_what_trains_nothing_else(flags: dict[str, Any]) -> None:
    assert Request(**flags).identity == Request().identity
    if not flags.keys() & {"register_only", *ALONE}:
        assert Request(**OTHERS, **flags).identity == Request(**OTHERS).identity == OTHERS


@pytest.mark.parametrize("flags", TRAINED, ids=only)
def test_a_request_for_another_training_is_another_one_also_where_it_asks_for_zero(flags: dict[str, Any]) -> None:
    assert Request(**flags).identity == flags


@pytest.mark.parametrize(
    ("flags", "nature"),
    [
        *((row, "presents") for row in TOLD),
        *((row, "serves") for row in SERVED),
        *((row, "trains") for row in (*FOUND, *TRAINED)),
    ],
    ids=str,
)
def test_every_flag_says_what_it_changes(flags: dict[str, Any], nature: str) -> None:
    assert next(flag.nature for flag in FLAGS if flag.name == only(flags)) == nature


def test_every_flag_is_known_to_train_to_serve_or_to_present() -> None:
    assert sorted(map(only, (*TOLD, *SERVED, *FOUND, *TRAINED))) == sorted(field.name for field in fields(Request))


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


def finished(history: History, **values: Any) -> Run:
    """A run that was published with a temperature, as q8_0."""
    given = {"plan": TrainPlan(epochs=3.5).to_json(), "base": {"source": "base"}, "strategy": "incremental"}
    more = {"overwrite": False, "parent": None, "parameters": {"temperature": 0.7, "top_k": 20}, "quantize": "q8_0"}
    more["keep_chat_template"] = False
    run = history.begin("zzhua", **{**given, **more, **values})
    for stage in ("train", "export", "prove", "publish"):
        run.mark_done(stage, 1)
    run.update(status="done", publishing={"staged": {}})
    return run


@pytest.mark.parametrize(
    ("flags", "parameters", "quantize"),
    [
        ({"temperature": 0.0}, {"temperature": 0.0, "top_k": 20}, "q8_0"),
        ({"top_p": 0.5}, {"temperature": 0.7, "top_k": 20, "top_p": 0.5}, "q8_0"),
        ({"top_k": 0}, {"temperature": 0.7, "top_k": 0}, "q8_0"),
        ({"min_p": 0.1}, {"temperature": 0.7, "top_k": 20, "min_p": 0.1}, "q8_0"),
        ({"repeat_penalty": 1.2}, {"temperature": 0.7, "top_k": 20, "repeat_penalty": 1.2}, "q8_0"),
        ({"num_ctx": 4096}, {"temperature": 0.7, "top_k": 20, "num_ctx": 4096}, "q8_0"),
        ({"quantize": "f16"}, {"temperature": 0.7, "top_k": 20}, "f16"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) and len(value) == 1 else "",
)
def test_registering_again_with_other_serving_keeps_what_is_not_spoken_of(
    history: History, flags: dict[str, Any], parameters: dict[str, Any], quantize: str
) -> None:
    run = finished(history)
    serving = going_on(run, Request(register_only=True, **flags), history, None).serving
    assert (serving.parameters, serving.quantize) == (parameters, quantize)
    assert [serving.sources[name] for name in flags] == ["flag"]
    # the record changes when the model is there, not before
    (found,) = history.runs("zzhua")
    assert (found.record["parameters"], found.record["quantize"]) == ({"temperature": 0.7, "top_k": 20}, "q8_0")


def test_a_run_goes_on_as_its_record_has_it_whatever_the_flags_say(history: History) -> None:
    first = finished(history)
    run = finished(history, parent=1, overwrite=True, strategy=None)
    job = going_on(run, Request(ollama_name="zzhua", base_model="another", epochs=9.0), history, None)
    assert (job.plan.epochs, job.base_source, job.strategy, job.overwrite) == (3.5, "base", None, True)
    assert job.previous is not None and job.previous.folder == first.folder
    assert job.run is run and job.client is None
    assert going_on(first, Request(), history, None).previous is None


def test_a_ladder_finds_its_rungs_by_itself(history: History) -> None:
    data = Dataset(Dialogues([]), Dialogues([]), (), None, "", {}, split=False)
    assert going_on(finished(history), Request(ladder="1,2"), history, None, data).run is None


def test_of_a_ladder_that_is_climbed_the_one_rung_goes_on_that_was_taken(history: History) -> None:
    run = finished(history)
    assert going_on(run, Request(ladder="1,2"), history, None).run is run
