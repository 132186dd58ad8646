"""A character that is there is trained on: the four choices, the four strategies, each with its recommended number."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ollama_export.server.client import OllamaClient
from pipeline.run.history import Run
from tests.support.character import Character, command_on, trained
from tests.support.terminal import CLEAR, CTRL_C, DOWN, ENTER, ESCAPE, Terminal

pytestmark = pytest.mark.posix("a pseudo-terminal of POSIX")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Character]:
    with trained(tmp_path_factory.mktemp("地方 place")) as character:
        yield character


def planned(terminal: Terminal, *words: str) -> list[str]:
    """The words of the plan's command, behind `--ollama_name NAME --on_exists continue`; `words` stand in the plan."""
    terminal.wait_for("就这样")
    for word in words:
        assert terminal.has_shown(word), terminal.everything
    command = command_on(terminal)
    assert command[0] == "--ollama_name" and command[-1] == "--yes"
    return [word for word in command[2:-1] if word not in ("--on_exists", "continue", "--continue_train")]


def test_the_four_choices_are_the_guides(place: Character) -> None:
    with place.about() as terminal:
        terminal.wait_for("已经在 Ollama 里").wait_for("4) ❌ 取消操作")
        # the facts may be broken between their words
        seen = " ".join(terminal.screen.split())
        for line in ("第 1 次训练", "1.0 轮", "1) 🔄 继续训练", "强制覆盖", "跳过训练", "旧的自动留备份"):
            assert line in seen
        terminal.send(DOWN, DOWN, DOWN, ENTER)
        assert terminal.finish() == 3 and terminal.has_shown("已取消")


def test_skip_ends_well_and_changes_nothing(place: Character) -> None:
    before = OllamaClient(place.server.url).digest(place.name)
    with place.about() as terminal:
        terminal.wait_for("跳过训练").send("3", ENTER)
        assert terminal.finish() == 0
    assert OllamaClient(place.server.url).digest(place.name) == before


def test_overwriting_plans_a_training_from_the_base_model_and_keeps_a_backup(place: Character) -> None:
    with place.about() as terminal:
        terminal.wait_for("强制覆盖").send("2", ENTER).wait_for("就这样")
        assert terminal.has_shown("强制覆盖：从基座模型重新训练") and terminal.has_shown("现在的留成备份")
        assert "--on_exists overwrite" in " ".join(command_on(terminal))


@pytest.mark.parametrize(
    ("keys", "words", "command"),
    [
        (["1", "常用"], ["1.0 轮 / 增量训练 +1.5 轮 / 最终训练 2.5 轮"], ["incremental", "--add_epochs", "1.5"]),
        (["2", "一次只改一样"], ["rank 8 → 16", "其余和上次一样"], ["retune", "--lora_rank", "16"]),
        (["3", "保持 1.0"], ["5.0 轮，30 步"], ["augment", "--epochs", "5"]),
    ],
    ids=["incremental", "retune", "augment"],
)
def test_enter_after_a_strategy_is_a_complete_answer(
    place: Character, keys: list[str], words: list[str], command: list[str]
) -> None:
    with place.about() as terminal:
        terminal.wait_for("强制覆盖").send("1", ENTER).wait_for("哪里不满意").send(keys[0], ENTER)
        terminal.wait_for(keys[1]).send(ENTER)
        assert planned(terminal, *words) == ["--strategy", *command]


def test_custom_keeps_every_number_at_enter(place: Character) -> None:
    place.train("--ollama_name", place.server.name("fast"), "--learning_rate", "3e-4")
    with place.talk("--ollama_name", place.server.name("fast"), "--continue_train") as terminal:
        terminal.wait_for("哪里不满意").send("4", ENTER)
        terminal.wait_for("» 1) 保持 1.0").send(ENTER)
        terminal.wait_for("» 1) 保持 3e-4").send(ENTER)
        terminal.wait_for("» 1) 保持 8").send(ENTER)
        assert planned(terminal, "学习率 3e-4，rank 8") == [
            "--strategy", "custom", "--epochs", "1", "--learning_rate", "3e-4", "--lora_rank", "8",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "command"),
    [
        ("2", ["--learning_rate", "1e-4"]),
        ("3", ["--epochs", "3", "--learning_rate", "1e-4", "--lora_rank", "16"]),
        ("4", ["--epochs", "2", "--learning_rate", "3e-4", "--lora_rank", "8"]),
    ],
)
def test_retune_offers_one_change_at_a_time_and_the_guides_sets(place: Character, row: str, command: list[str]) -> None:
    with place.about("--continue_train") as terminal:
        terminal.wait_for("哪里不满意").send("2", ENTER).wait_for("高质量组合：学习率 1e-4，rank 16，3.0 轮")
        terminal.wait_for("快速组合：学习率 3e-4，rank 8，2.0 轮")
        terminal.send(row, ENTER)
        assert planned(terminal) == ["--strategy", "retune", *command]


def test_own_numbers_are_typed_and_wrong_ones_told_at_the_field(place: Character) -> None:
    with place.about("--continue_train") as terminal:
        terminal.wait_for("哪里不满意").send("2", ENTER).wait_for("自己设定").send("5", ENTER)
        terminal.wait_for("学习率？（现在 2e-4）").wait_for("自己输入").send("5", ENTER)
        terminal.wait_for("? 学习率").send("20", ENTER).wait_for("✗ ").send(CLEAR, "fast", ENTER)
        terminal.wait_for("✗ 请输入一个数字").send(CLEAR, "３e-4", ENTER)
        terminal.wait_for("rank？").send("4", ENTER)
        terminal.wait_for("一共练几轮").send("5", ENTER).wait_for("? 轮数").send("２．５", ENTER)
        command = ["--strategy", "retune", "--epochs", "2.5", "--learning_rate", "3e-4", "--lora_rank", "32"]
        assert planned(terminal, "2.5 轮") == command


def test_incremental_can_compare_several_lengths(place: Character) -> None:
    with place.about("--continue_train") as terminal:
        terminal.wait_for("哪里不满意").send("1", ENTER).wait_for("5) 比较几种").send("5", ENTER)
        assert planned(terminal, "1.5 / 2.0 / 3.0 轮各练一次") == ["--strategy", "custom", "--ladder", "1.5,2.0,3.0"]


def test_the_temperature_alone_is_changed_without_training(place: Character) -> None:
    name = place.server.name("warm")
    place.train("--ollama_name", name)
    client, before = OllamaClient(place.server.url), len(place.program.history.runs(name))
    with place.talk("--ollama_name", name) as terminal:
        terminal.wait_for("强制覆盖").send("1", ENTER).wait_for("只改温度").send("5", ENTER)
        terminal.wait_for("温度").send(CLEAR, "９", ENTER).wait_for("✗ ").send(CLEAR, "０.4", ENTER)
        terminal.wait_for("已经可以用了")
        assert terminal.finish() == 0
    assert "temperature                    0.4" in client.show(name)["parameters"]
    assert len(place.program.history.runs(name)) == before


def test_escape_goes_back_one_question_at_a_time_with_the_answers_kept(place: Character) -> None:
    with place.about() as terminal:
        terminal.wait_for("强制覆盖").send("1", ENTER).wait_for("哪里不满意").send("4", ENTER)
        terminal.wait_for("一共练几轮").send("2", ENTER).wait_for("学习率？").send("3", ENTER)
        terminal.wait_for("rank？").send(ESCAPE).wait_for("» 3) 1e-4").send(ESCAPE).wait_for("» 2) 4.0").send(ENTER)
        terminal.wait_for("学习率？").send(ENTER).wait_for("rank？").send(ENTER).wait_for("就这样").send(ESCAPE)
        terminal.wait_for("» 1) 保持 8").send(ESCAPE).wait_for("» 3) 1e-4").send(ESCAPE).wait_for("» 2) 4.0").send(
            ESCAPE
        )
        terminal.wait_for("» 4) 🔧 自定义配置").send("1", ENTER)
        terminal.wait_for("再加几轮").send("3", ENTER).wait_for("就这样").send(ESCAPE)
        terminal.wait_for("» 3) +2.0").send(ESCAPE).wait_for("» 1) 📈 增量训练").send(ESCAPE)
        terminal.wait_for("» 1) 🔄 继续训练").send(ESCAPE)
        assert terminal.finish() == 3


def test_a_model_made_elsewhere_is_continued_on_itself(place: Character) -> None:
    other = place.server.name("fern")
    OllamaClient(place.server.url).create(other, from_=place.name, system="你是蕨。")
    with place.talk("--ollama_name", other, "--data_dir", str(place.program.data)) as terminal:
        terminal.wait_for("不是在这里训练的").send("1", ENTER).wait_for(f"» 1) ollama:{other}").send(ENTER)
        terminal.wait_for("没有训练记录").wait_for("哪里不满意").send("1", ENTER).wait_for("再加几轮").send(ENTER)
        assert planned(terminal, "你是蕨。", f"ollama:{other}", "1.5 轮")


CONTINUE_QUESTIONS = {
    "choice": ((), "强制覆盖"),
    "strategy": (("--continue_train",), "哪里不满意"),
    "numbers": (("--strategy", "augment"), "一共练几轮"),
    "plan": (("--add_epochs", "1"), "就这样"),
    "line": (("--add_epochs", "1"), "改哪一样"),
    "more": (("--add_epochs", "1"), "--batch_size"),
}


@pytest.mark.parametrize("question", CONTINUE_QUESTIONS)
def test_control_c_at_any_question_cancels_with_three(place: Character, question: str) -> None:
    flags, text = CONTINUE_QUESTIONS[question]
    runs = len(place.program.history.runs(place.name))
    with place.about(*flags) as terminal:
        if question in ("line", "more"):
            terminal.wait_for("就这样").send("2", ENTER)
        if question == "more":
            terminal.wait_for("更多").send("9", ENTER).wait_for("训练的数").send(ENTER)
        terminal.wait_for(text).send(CTRL_C)
        assert terminal.finish() == 3 and terminal.has_shown("已取消，什么都没有改动")
    assert len(place.program.history.runs(place.name)) == runs


# --- the guide's worked examples


def trained_by_keys(place: Character, name: str, *keys: tuple[str, str]) -> Run:
    with place.talk("--ollama_name", name, "--continue_train", "--no_compare") as terminal:
        for question, key in keys:
            terminal.wait_for(question).send(key, ENTER)
        terminal.wait_for("就这样").send("1", ENTER).wait_for("用新的吗").send("1", ENTER)
        terminal.wait_for("记一句").send(ENTER).wait_for("已经可以用了")
        assert terminal.finish() == 0
    run = place.program.history.newest(name)
    assert run is not None and run.is_done
    return run


EXAMPLES = {
    "林栀 not subtle enough": (
        (("哪里不满意", "2"), ("高质量组合", "3")),
        ("--strategy", "retune", "--learning_rate", "1e-4", "--lora_rank", "16", "--epochs", "3.0"),
    ),
    "five rows only": (
        (("哪里不满意", "3"), ("一共练几轮", "5"), ("轮数", "6")),
        ("--strategy", "augment", "--epochs", "6"),
    ),
    "a general assistant": (
        (("哪里不满意", "1"), ("再加几轮", "3")),
        ("--strategy", "incremental", "--add_epochs", "2.0"),
    ),
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_guides_examples_are_the_same_request_by_keys_and_by_flags(tmp_path, example: str) -> None:
    keys, flags = EXAMPLES[example]
    with trained(tmp_path) as character:
        if example == "five rows only":
            character.program.write_data(5)
            character.train("--force", "--yes", "--epochs", "1")
        by_keys = trained_by_keys(character, character.name, *keys)
        other = character.server.name("other")
        character.train("--ollama_name", other)
        character.program.run_bare("--ollama_name", other, "--continue_train", *flags, "--yes")
        by_flags = character.program.history.newest(other)
        assert by_flags is not None
        assert by_keys.record["request"] == by_flags.record["request"]
        numbers = [{k: v for k, v in run.record["plan"].items() if k != "sources"} for run in (by_keys, by_flags)]
        assert numbers[0] == numbers[1] and by_keys.record["strategy"] == by_flags.record["strategy"]


# --- data that have changed or are gone


def add_row(place: Character) -> None:
    turns = [("user", "新的问题？"), ("assistant", "（笑）新的回答。")]
    row = {"messages": [{"role": role, "content": content} for role, content in turns]}
    with (place.program.data / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


@pytest.mark.parametrize(
    ("key", "words", "command"),
    [
        ("1", "25 条（31 个回答）", ["--strategy", "incremental", "--add_epochs", "1.5"]),
        ("2", "在第 1 次学到的基础上接着练", ["--strategy", "incremental", "--add_epochs", "1.5", "--warm_start"]),
        ("3", "24 条（30 个回答）", ["--rows_of_run", "1", "--strategy", "incremental", "--add_epochs", "1.5"]),
    ],
    ids=["all rows anew", "on from the adapter", "the rows of last time"],
)
def test_changed_data_are_told_with_three_ways_on(tmp_path, key: str, words: str, command: list[str]) -> None:
    with trained(tmp_path) as character:
        add_row(character)
        with character.about() as terminal:
            terminal.wait_for("强制覆盖").send("1", ENTER)
            terminal.wait_for("数据变了：第 1 次用了 24 条，这次 25 条（新增 1，删掉 0")
            terminal.wait_for("怎么练").send(key, ENTER)
            terminal.wait_for("哪里不满意").send("1", ENTER).wait_for("再加几轮").send("2", ENTER)
            assert planned(terminal, words) == command


def test_data_that_are_gone_can_be_replaced_by_the_rows_that_were_kept(tmp_path) -> None:
    with trained(tmp_path) as character:
        character.program.data.rename(tmp_path / "别处")
        with character.about("--continue_train") as terminal:
            terminal.wait_for("不在了").wait_for("怎么办").send("1", ENTER).wait_for("哪里不满意").send("1", ENTER)
            terminal.wait_for("再加几轮").send(ENTER)
            assert "--rows_of_run" in planned(terminal, "24 条")
        with character.about("--continue_train") as terminal:
            terminal.wait_for("怎么办").send("2", ENTER).wait_for("别处的文件").send("1", ENTER)
            terminal.wait_for("可以拖进来").send(str(tmp_path / "别处"), ENTER).wait_for("哪里不满意").send("1", ENTER)
            terminal.wait_for("再加几轮").send(ENTER)
            assert "--data_dir" in planned(terminal, "24 条")
