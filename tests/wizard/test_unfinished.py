"""A training that stopped before its end is offered first when its name comes up, whichever flags are given or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.character import Character
from tests.support.ollama_fixture import running_ollama
from tests.support.program import Program
from tests.support.terminal import CTRL_C, ENTER, ESCAPE, Terminal

pytestmark = pytest.mark.posix("a pseudo-terminal of POSIX")


@contextmanager
def stopped(folder: Path, *, stood: bool) -> Iterator[Character]:
    """A training of eight epochs that Ctrl-C stopped after 12 of 48 steps; `stood`: the character was there before."""
    with running_ollama() as server:
        character = Character(folder, server)
        if stood:
            character.train()
        program: Program = character.program
        way = ("--continue_train", "--strategy", "augment") if stood else ()
        flags = ("--ollama_name", character.name, "--epochs", "8", "--yes", *way)
        words = [f"hold StepDone:12 {program.gate}", *program.command(*flags)[2:]]
        chinese = {**program.environment, "TRAIN_TO_OLLAMA_LANG": "zh"}
        with Terminal(["-m", "tests.support.watchers", *words], environment=chinese) as terminal:
            terminal.wait_for("12/48").send(CTRL_C).wait_for("正在停下")
            program.gate.unlink()
            assert terminal.finish() == 130
        yield character


@pytest.mark.parametrize("stood", [False, True], ids=["a first training", "one of several"])
def test_it_is_the_first_row_when_the_name_is_given_and_enter_goes_on(tmp_path: Path, stood: bool) -> None:
    with stopped(tmp_path, stood=stood) as character:
        number = 2 if stood else 1
        with character.about() as terminal:
            row = "0) 接着练没练完的第 2 次" if stood else "1) 接着练没练完的第 1 次"
            terminal.wait_for(row).wait_for("（练到 25%）")
            assert f"» {row}" in terminal.screen
            terminal.send(ENTER).wait_for(f"接着第 {number} 次训练没做完的地方继续")
            terminal.wait_for("个问题，第 1 个").send(ENTER)
            if stood:
                terminal.wait_for("用新的吗").send("1", ENTER).wait_for("记一句").send(ENTER)
            else:
                terminal.wait_for("放进 Ollama 吗").send("1", ENTER)
            terminal.wait_for("已经可以用了")
            assert terminal.finish() == 0
        runs = character.program.history.runs(character.name)
        assert [run.record["status"] for run in runs] == ["done"] * number and runs[-1].plan.epochs == 8


def test_it_can_be_left_for_a_new_one_and_escape_changes_nothing(tmp_path: Path) -> None:
    with stopped(tmp_path, stood=False) as character:
        with character.about() as terminal:
            terminal.wait_for("接着练没练完的第 1 次").send(ESCAPE)
            assert terminal.finish() == 3
        place = ("--base_model", str(character.program.base), "--data_dir", str(character.program.data))
        with character.about(*place, "--epochs", "1") as terminal:
            # other flags ask for another training
            terminal.wait_for("就这样", unless="接着练没练完的").send("3", ENTER)
            assert terminal.finish() == 3
        with character.about(*place) as terminal:
            terminal.wait_for("接着练没练完的第 1 次").send("2", ENTER).wait_for("就这样")
            assert "--restart" in terminal.unfolded
            terminal.send(ENTER).wait_for("个问题，第 1 个").send(ENTER)
            terminal.wait_for("放进 Ollama 吗").send("1", ENTER).wait_for("已经可以用了")
            assert terminal.finish() == 0
        runs = character.program.history.runs(character.name)
        assert [(run.number, run.record["status"]) for run in runs] == [(1, "interrupted"), (2, "done")]


def test_with_changed_data_it_is_told_that_it_can_not_go_on(tmp_path: Path) -> None:
    with stopped(tmp_path, stood=True) as character:
        row = {"prompt": "新的？", "completion": "（笑）新的。"}
        with (character.program.data / "train.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        with character.about() as terminal:
            terminal.wait_for("用的是另一份数据，接不上了").wait_for("» 1) 🔄 继续训练", unless="0) 接着练").send(
                CTRL_C
            )
            assert terminal.finish() == 3


def test_without_a_terminal_the_same_command_goes_on_without_a_question(tmp_path: Path) -> None:
    with stopped(tmp_path, stood=False) as character:
        character.program.run("--ollama_name", character.name, "--epochs", "8", "--yes")
        assert [run.record["status"] for run in character.program.history.runs(character.name)] == ["done"]
