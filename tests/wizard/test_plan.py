"""The plan: each line is changed in place and comes back, and what is answered is what flags would say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.flags import FLAGS
from pipeline.request import Request
from tests.support.character import Character, command_on, trained
from tests.support.terminal import CLEAR, ENTER, ESCAPE, Terminal
from wizard.command_line import parse
from wizard.steps.plan import DECIDED_ELSEWHERE, LINES, MORE

pytestmark = pytest.mark.posix("a pseudo-terminal of POSIX")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Character]:
    with trained(tmp_path_factory.mktemp("地方 place")) as character:
        yield character


def new(place: Character, *flags: str, **how: Any) -> Terminal:
    given = ("--ollama_name", "linzhi", "--base_model", str(place.program.base), "--data_dir", str(place.program.data))
    return place.talk(*given, *flags, **how)


def choose(terminal: Terminal, text: str) -> Terminal:
    """Press the key of the row that has a text, and Enter."""
    row = next(line for line in reversed(terminal.screen.split("\n")) if f"{text}" in line and ") " in line)
    return terminal.send(row.split(")")[0].strip(" »"), ENTER)


def changed(terminal: Terminal, *rows: str) -> Terminal:
    """From the plan to the question of one of its lines."""
    terminal.wait_for("就这样").send("2", ENTER)
    for row in rows:
        terminal.wait_for(row)
        choose(terminal, row)
    return terminal


LINE_BY_LINE = {
    "epochs": ("一共练几轮", "保持 5.0", ("2",), ["--epochs", "4"]),
    "learning_rate": ("学习率", "保持 2e-4", ("3",), ["--learning_rate", "1e-4"]),
    "lora_rank": ("rank", "保持 8", ("3",), ["--lora_rank", "16"]),
    "system": ("系统提示词", "系统提示词：", (CLEAR, "你是 小林。"), ["--system", "你是 小林。"]),
    "no system": ("系统提示词", "系统提示词：", (CLEAR,), ["--no_system"]),
    "temperature": ("温度", "活泼）：", (CLEAR, "0.4"), ["--temperature", "0.4"]),
}
"""Row of the menu, question, keys before Enter, words of the command."""


@pytest.mark.parametrize("line", LINE_BY_LINE)
def test_each_line_of_the_plan_is_changed_in_place(place: Character, line: str) -> None:
    row, question, keys, words = LINE_BY_LINE[line]
    with new(place) as terminal:
        changed(terminal, row).wait_for(question).send(*keys, ENTER).wait_for("就这样")
        command = command_on(terminal)
        assert [word for word in words if word not in command] == []
        terminal.send("3", ENTER)
        assert terminal.finish() == 3


def test_escape_at_a_line_leaves_the_plan_as_it_was(place: Character) -> None:
    with new(place) as terminal:
        terminal.wait_for("就这样")
        before = command_on(terminal)
        changed(terminal, "基座模型").wait_for("在哪个模型上学").send(ESCAPE)
        terminal.wait_for("改哪一样").send(ESCAPE).wait_for("就这样")
        assert command_on(terminal) == before


def test_the_data_can_be_changed_from_the_plan_and_the_recommended_epochs_follow(
    place: Character, tmp_path: Path
) -> None:
    lines = (place.program.data / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "train.jsonl").write_text("".join(lines[:5]), encoding="utf-8")
    with new(place) as terminal:
        terminal.wait_for("5.0 轮")
        changed(terminal, "对话数据").wait_for("教它哪些对话").send("1", ENTER)
        terminal.wait_for("可以拖进来").send(str(tmp_path), ENTER).wait_for("5 条都能用").wait_for("就这样")
        assert terminal.has_shown("6.5 轮") and str(tmp_path) in command_on(terminal)


def test_an_answer_wins_over_the_flag_of_before(place: Character) -> None:
    with new(place, "--epochs", "4", "--learning_rate", "5e-5", "--lora_rank", "32") as terminal:
        changed(terminal, "学习率").wait_for("保持 5e-5").send("3", ENTER).wait_for("学习率：你的选择")
        changed(terminal, "一共练几轮").wait_for("保持 4.0").send("2", ENTER).wait_for("就这样")
        request = parse(command_on(terminal))
        assert (request.epochs, request.learning_rate, request.lora_rank) == (5.0, 1e-4, 32)


@pytest.mark.parametrize("flags", [("--add_epochs", "1"), ("--strategy", "retune", "--lora_rank", "16")])
def test_the_strategy_can_be_chosen_anew_from_the_plan(place: Character, flags: tuple[str, ...]) -> None:
    with place.about(*flags) as terminal:
        changed(terminal, "怎么练").wait_for("哪里不满意").send("3", ENTER).wait_for("一共练几轮").send(ENTER)
        terminal.wait_for("就这样")
        request = parse(command_on(terminal))
        assert (request.strategy, request.epochs, request.add_epochs, request.lora_rank) == ("augment", 5.0, None, None)


def test_the_added_epochs_can_be_changed_from_the_plan(place: Character) -> None:
    with place.about("--add_epochs", "1") as terminal:
        changed(terminal, "一共练几轮").wait_for("再加几轮").send("4", ENTER).wait_for("最终训练 4.0 轮").wait_for(
            "就这样"
        )
        assert parse(command_on(terminal)).add_epochs == 3.0


def test_a_ladder_stays_where_another_line_is_changed_and_goes_where_epochs_are(place: Character) -> None:
    with new(place, "--ladder", "2,4") as terminal:
        terminal.wait_for("2.0 / 4.0 轮各练一次")
        changed(terminal, "学习率").wait_for("保持 2e-4").send("3", ENTER).wait_for("就这样")
        assert parse(command_on(terminal)).ladder == "2,4"
        changed(terminal, "一共练几轮").wait_for("保持 4.0").send("2", ENTER).wait_for("就这样")
        request = parse(command_on(terminal))
        assert (request.ladder, request.epochs) == (None, 5.0)


def test_wrong_input_at_a_field_is_told_there(place: Character) -> None:
    with new(place) as terminal:
        changed(terminal, "温度").wait_for("活泼）：").send(CLEAR, "99", ENTER).wait_for("✗ ")
        terminal.send(CLEAR, "热", ENTER).wait_for("✗ 请输入一个数字").send(CLEAR, "0.5", ENTER).wait_for("就这样")
        changed(terminal, "更多", "训练的数", "--lora_alpha").wait_for("两倍）：").send(CLEAR, ENTER)
        terminal.wait_for("✗ 不能为空").send("-3", ENTER).wait_for("不能是 -3.0").send(ESCAPE)
        terminal.wait_for("--lora_alpha").send(ESCAPE).wait_for("训练的数").send(ESCAPE)
        terminal.wait_for("8) 更多").send(ESCAPE).wait_for("就这样")


ANSWERS: dict[str, tuple[str, Any]] = {
    "ladder": ("2,3", "2,3"),
    "lora_alpha": ("24", 24.0),
    "lora_dropout": ("0.1", 0.1),
    "batch_size": ("8", 8),
    "max_length": ("512", 512),
    "seed": ("7", 7),
    "scheduler": ("cosine", "cosine"),
    "early_stop": ("是", True),
    "qlora": ("是", True),
    "quantize": ("f16", "f16"),
    "top_p": ("0.8", 0.8),
    "top_k": ("20", 20),
    "min_p": ("0.05", 0.05),
    "repeat_penalty": ("1.1", 1.1),
    "num_ctx": ("8192", 8192),
    "keep_chat_template": ("是", True),
    "keep_gguf": ("是", True),
    "llama_cpp": ("HERE", Path()),
    "no_register": ("是", True),
    "keep_backups": ("3", 3),
    "no_compare": ("是", True),
    "val_file": ("VAL", Path()),
    "samples": ("2", 2),
}
"""What is typed or chosen, and what it is in the request."""
BY_FLAG_ALONE = {"dry_run"}
"""Asked, but then nothing comes after it."""


def test_every_flag_is_asked_somewhere() -> None:
    asked = {*LINES, *(name for names in MORE.values() for name in names)} - {"data"}
    assert asked | DECIDED_ELSEWHERE == {flag.name for flag in FLAGS} and not asked & DECIDED_ELSEWHERE
    assert {name for names in MORE.values() for name in names} == ANSWERS.keys() | BY_FLAG_ALONE
    assert all(len(names) <= 9 for names in (LINES, *MORE.values())), "a digit for each"


def test_what_is_answered_under_more_is_what_the_flags_say(place: Character, tmp_path: Path) -> None:
    val = place.program.data / "val.jsonl"
    given = {name: {"HERE": str(tmp_path), "VAL": str(val)}.get(typed, typed) for name, (typed, _) in ANSWERS.items()}
    wanted = {name: {"HERE": tmp_path, "VAL": val}.get(typed, value) for name, (typed, value) in ANSWERS.items()}
    kinds = {flag.name: flag for flag in FLAGS}
    groups = {"training": "训练的数", "serving": "放进 Ollama 时", "others": "其他"}
    with new(place) as terminal:
        for group, names in MORE.items():
            for name in (n for n in names if n not in BY_FLAG_ALONE):
                changed(terminal, "更多", groups[group], f"--{name}")
                flag = kinds[name]
                if flag.kind == "switch" or flag.choices:
                    terminal.wait_for(f") {given[name]}")
                    choose(terminal, f") {given[name]}")
                else:
                    terminal.wait_for("：").send(CLEAR, given[name], ENTER)
        terminal.wait_for("就这样")
        request = parse(command_on(terminal))
    base = {"ollama_name": "linzhi", "base_model": str(place.program.base), "data_dir": place.program.data, "yes": True}
    assert request == Request(**base, **wanted)


def test_a_check_alone_can_be_asked_for(place: Character) -> None:
    with new(place) as terminal:
        changed(terminal, "更多", "其他", "--dry_run").wait_for(") 是")
        choose(terminal, ") 是")
        terminal.wait_for("只是预览")
        assert terminal.finish() == 0
    assert place.program.history.newest("linzhi") is None
