"""What a run's record tells of its way, and what of it is kept: through the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lora_trainer.engine.checkpoints import adapter_fault
from pipeline.job import Dataset
from pipeline.outcome.along import language_of, questions_along
from pipeline.outcome.points import drop_points
from pipeline.run.history import Run
from tests.support.program import Program
from tests.support.project import ROOT
from tests.support.terminal import ENTER, Terminal
from tests.support.train_tiny import dialogues

AMPLE = (
    "import math, runpy, sys; from lora_trainer.engine.along import samples; samples.SHARE = math.inf; "
    "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)
"""The program, where there is time for every answer however slow the machine is."""


def data_of(*said: str, val: bool = True) -> Dataset:
    talks = dialogues(2)
    rows = [type(talk)((*talk.messages[:2], {"role": "assistant", "content": text}), "", 1)
            for talk, text in zip(talks, said, strict=False)]  # fmt: skip
    return Dataset(train=rows, val=dialogues(3, 7) if val else [], findings=(), system="你是林栀。",
                   fingerprint="", files={}, split=False)  # type: ignore[arg-type]  # fmt: skip


def test_a_script_asks_nothing_and_keeps_only_what_is_published(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.run("--no_register", "--epochs", "2.5")
    run = program.newest
    assert run is not None
    training = run.record["training"]
    assert training["samples"] == [] and not (run.folder / "points").exists()
    (point,) = training["points"]
    assert (point["step"], point["epochs"], point["adapter"]) == (training["steps"], 2.5, "adapter")
    assert point["val_loss"] == training["val_losses"][-1][1] and point["samples"] == []
    assert adapter_fault(run.folder / "adapter") is None


def test_a_ladder_keeps_the_adapter_of_each_rung_and_no_points(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.run("--no_register", "--ladder", "1,2")
    runs = program.history.runs("zzhua")
    assert [run.record["status"] for run in runs] == ["done", "done"]
    for run in runs:
        assert not (run.folder / "points").exists() and adapter_fault(run.folder / "adapter") is None
        assert [point["adapter"] for point in run.record["training"]["points"]] == ["adapter"]


def test_a_flag_lets_a_script_ask_and_the_record_has_the_answers(tmp_path: Path) -> None:
    program = Program(tmp_path)
    command = [sys.executable, "-c", AMPLE, *program.command("--no_register", "--samples", "2", "--yes")[1:]]
    done = subprocess.run(
        command, env=program.environment, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    run = program.newest
    assert run is not None
    told = run.record["training"]["samples"]
    questions = ["你好，请介绍一下自己", "val 第0问：在干嘛？"]
    assert [(one["step"], one["epochs"], one["question"]) for one in told] == [
        (step, step / 6, question) for step in (2, 3, 5, 6) for question in questions
    ]
    (point,) = run.record["training"]["points"]
    last = [{name: one[name] for name in ("question", "answer", "stopped")} for one in told[-2:]]
    assert point["samples"] == last
    assert f"Q: {questions[0]}" in done.stdout


@pytest.mark.posix("a pseudo-terminal of POSIX")
def test_on_a_terminal_one_question_is_asked(tmp_path: Path) -> None:
    program = Program(tmp_path)
    environment = {**program.environment, "TRAIN_TO_OLLAMA_LANG": "zh"}
    command = program.command("--no_register", "--no_compare")[1:]
    with Terminal(["-c", AMPLE, *command], environment=environment, cwd=ROOT) as terminal:
        terminal.wait_for("就这样").send(ENTER)
        assert terminal.finish() == 0
    run = program.newest
    assert run is not None
    told = run.record["training"]["samples"]
    assert [one["question"] for one in told] == ["你好，请介绍一下自己"] * 4


def test_questions_are_in_the_language_of_what_is_taught_and_none_comes_twice() -> None:
    chinese, english = data_of("（点头）在的。", "嗯嗯 ok"), data_of("Ahoy! A biscuit, please. 嗯", "b")
    assert [language_of(data) for data in (chinese, english)] == ["zh", "en"]
    assert questions_along(english, 1) == ["Hello, please introduce yourself"]
    assert questions_along(chinese, 3) == ["你好，请介绍一下自己", "在吗？ 7 hello hello hello", "在吗？ 8"]
    assert questions_along(data_of("嗯", val=False), 2)[1] == "在吗？ 0"
    assert questions_along(chinese, 0) == []


@pytest.fixture
def with_points(tmp_path: Path) -> Run:
    run = Run(tmp_path, {})
    listed = [{"step": step, "adapter": f"points/{step}"} for step in (2, 4)] + [{"step": 6, "adapter": "adapter"}]
    for point in [*(one["adapter"] for one in listed), "points/writing-4"]:
        (tmp_path / str(point)).mkdir(parents=True)
    run.update(training={"adapter": "adapter", "points": listed})
    return run


@pytest.mark.parametrize(("keep", "left"), [((), []), ((4,), ["4"]), ((2, 4), ["2", "4"]), ((6,), [])])
def test_points_are_dropped_but_those_that_are_kept(with_points: Run, keep: tuple[int, ...], left: list[str]) -> None:
    drop_points(with_points, keep)
    points = with_points.folder / "points"
    assert sorted(path.name for path in points.glob("*")) == left and points.exists() == bool(left)
    assert (with_points.folder / "adapter").is_dir()
    listed = [point["adapter"] for point in with_points.record["training"]["points"]]
    assert listed == [*(f"points/{step}" for step in left), "adapter"]


def test_a_record_from_before_points_has_none_to_drop(tmp_path: Path) -> None:
    for record in ({}, {"training": {"adapter": "adapter"}}):
        drop_points(Run(tmp_path, dict(record)))
    assert list(tmp_path.iterdir()) == []
