"""A new character, from nothing, by questions: dialogues, name, base model, plan."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.character import Character, command_on, trained
from tests.support.terminal import CLEAR, CTRL_C, ENTER, ESCAPE, Terminal

pytestmark = pytest.mark.posix("a pseudo-terminal of POSIX")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Character]:
    with trained(tmp_path_factory.mktemp("地方 place")) as character:
        write_rows(character.program.folder / "data", 87, val=14)
        write_rows(character.program.folder / "data" / "小店 shop", 8)
        yield character


SYSTEM = "你是林栀，二十四岁，在老街的一家旧书店做店员。"


def write_rows(folder: Path, count: int, val: int = 0) -> None:
    folder.mkdir(parents=True)
    for name, rows in (("train", count), ("val", val)):
        lines = []
        for number in range(rows):
            said = (SYSTEM, f"{name} {number}：在干嘛？", f"（低头）看书……{number}")
            turns = zip(("system", "user", "assistant"), said, strict=True)
            messages = [{"role": role, "content": content} for role, content in turns]
            lines.append(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
        if lines:
            (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def base_typed(terminal: Terminal, place: Character) -> Terminal:
    """Answer the question for a base model by the path of the tiny one, as drag and drop writes it."""
    terminal.wait_for("在哪个模型上学").send(last_row(terminal), ENTER)
    return terminal.wait_for("可以把文件拖进来").send(f"'{place.program.base}' ", ENTER)


def last_row(terminal: Terminal) -> str:
    terminal.wait_for(") 本地文件夹")
    return next(line for line in reversed(terminal.screen.split("\n")) if ") 本地文件夹" in line).split(")")[0][-1]


def test_three_questions_lead_to_a_plan_whose_command_does_the_same(place: Character) -> None:
    with place.talk() as terminal:
        terminal.wait_for("教它哪些对话").wait_for("1) data/").wait_for("87 条，另有 14 条验证")
        terminal.wait_for("2) data/小店 shop/").wait_for("「你是林栀")
        terminal.send(ENTER).wait_for("87 条都能用，一共 87 个回答")
        terminal.wait_for("名字").send("linzhi", ENTER)
        base_typed(terminal, place).wait_for("就这样")
        plan = terminal.everything
        assert "3.5 轮，77 步" in plan and "87 条建议 3～4 轮" in plan
        assert "学习率 2e-4，rank 8" in plan and "你是林栀，二十四岁" in plan
        assert "检查过才放进 Ollama" in plan
        words = command_on(terminal)
        terminal.send("3", ENTER)
        assert terminal.finish() == 3
        assert terminal.has_shown("已取消，什么都没有改动")
    assert not (place.program.history.home / "linzhi").exists()
    done = place.program.run_bare(*words, "--dry_run")
    assert (done["name"], done["plan"]["epochs"]) == ("linzhi", 3.5)
    assert done["base_model"] == str(place.program.base)


def test_scripts_keep_the_guides_two_epochs(place: Character) -> None:
    flags = ("--ollama_name", "linzhi", "--base_model", str(place.program.base), "--no_register", "--dry_run")
    assert place.program.run_bare(*flags)["plan"]["epochs"] == 2.0


@pytest.mark.parametrize(
    ("key", "epochs", "advice"), [("1", "3.5 轮", "87 条建议 3～4 轮"), ("2", "6.5 轮", "8 条建议 5～8 轮")]
)
def test_the_recommended_epochs_follow_the_number_of_rows(place: Character, key: str, epochs: str, advice: str) -> None:
    with place.talk() as terminal:
        terminal.wait_for("教它哪些对话").send(key, ENTER).wait_for("名字").send("linzhi", ENTER)
        base_typed(terminal, place).wait_for("就这样")
        assert epochs in terminal.everything and advice in terminal.everything


def test_sixty_epochs_on_eight_rows_are_not_announced_as_if_nothing_were_wrong(place: Character) -> None:
    shop = str(place.program.folder / "data" / "小店 shop")
    base = ("--ollama_name", "linzhi", "--base_model", str(place.program.base), "--data_dir", shop, "--no_register")
    shown = place.program.run_bare(*base, "--epochs", "60", "--yes", "--dry_run")["shown"]
    assert "8 dialogues: 5 to 8 suit them" in shown and "60.0 epochs" in shown and "overfit" in shown
    with place.talk(*base, "--epochs", "60") as terminal:
        terminal.wait_for("就这样").send(ENTER).wait_for("一共 60.0 轮，很容易练过头").send("n", ENTER)
        terminal.wait_for("一共练几轮").send("3", ENTER).wait_for("就这样")
        assert terminal.has_shown("6.5 轮")


def test_a_wrong_name_is_told_at_the_field_and_its_proposal_taken_by_enter(place: Character) -> None:
    with place.talk("--data_dir", str(place.program.data)) as terminal:
        terminal.wait_for("名字").send(ENTER).wait_for("✗ 不能为空")
        terminal.send("林栀", ENTER).wait_for("✗ 「林栀」").wait_for("按 Enter")
        terminal.send(ENTER).wait_for("在哪个模型上学")


def test_a_wrong_path_is_told_at_the_field_which_stays_filled(place: Character) -> None:
    with place.talk() as terminal:
        terminal.wait_for("教它哪些对话").send("3", ENTER)
        terminal.wait_for("文件或文件夹（可以拖进来）").send("/tmp/没有 这里", ENTER)
        terminal.wait_for("✗ 没有这个文件或文件夹：/tmp/没有 这里")
        terminal.send(CLEAR, str(place.program.folder), ENTER).wait_for("里没有 train.jsonl")
        terminal.send(CLEAR, f'"{place.program.data / "train.jsonl"}"', ENTER).wait_for("24 条都能用").wait_for("名字")


@pytest.mark.parametrize("typed", ["nosuch/model/x", "./nosuch.gguf", "~/nosuch folder"])
def test_a_mistyped_base_model_is_told_where_it_is_asked(place: Character, typed: str) -> None:
    with place.talk("--ollama_name", "linzhi", "--data_dir", str(place.program.data)) as terminal:
        terminal.wait_for("在哪个模型上学").send(last_row(terminal), ENTER)
        terminal.wait_for("可以把文件拖进来").send(typed, ENTER).wait_for("✗ ")
        terminal.send(CLEAR, str(place.program.base), ENTER).wait_for("就这样")


@pytest.mark.parametrize(("key", "way"), [("1", "strip"), ("2", "train")])
def test_whoever_has_thoughts_in_the_dialogues_is_asked_about_them(place: Character, key: str, way: str) -> None:
    folder = place.program.folder / f"想法 {way}"
    write_rows(folder, 24)
    path = folder / "train.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("（低头）", "<think>想</think>（低头）"), encoding="utf-8")
    with place.talk("--ollama_name", "thinker", "--data_dir", str(folder)) as terminal:
        terminal.wait_for("24 个回答前面有思考，怎么办").settled().send(key, ENTER)
        base_typed(terminal, place).wait_for("就这样")
        assert terminal.has_shown("连同前面的思考一起学的回答有 24 个") == (way == "train")
        # what was read already isn't told once more
        assert terminal.everything.count("去掉了 24") == 1
        words = command_on(terminal)
    assert words[words.index("--thoughts") + 1] == way


def test_faults_of_the_data_are_shown_where_the_data_are_chosen_and_can_be_mended(place: Character) -> None:
    folder = place.program.folder / "有错 bad"
    write_rows(folder, 30)
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").split("\n")
    lines[4] = lines[4][:-6]
    (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with place.talk() as terminal:
        terminal.wait_for("教它哪些对话").send("3", ENTER).wait_for("可以拖进来").send(str(folder), ENTER)
        terminal.wait_for("train.jsonl:5").wait_for("怎么办").send("1", ENTER)
        terminal.wait_for("train.jsonl:5").wait_for("怎么办").send("2", ENTER).wait_for("26 条都能用").wait_for("名字")
        terminal.send("linzhi", ENTER)
        base_typed(terminal, place).wait_for("就这样")
        assert "--skip_bad_rows" in command_on(terminal)
    with place.talk() as terminal:
        terminal.wait_for("教它哪些对话").send("3", ENTER).wait_for("可以拖进来").send(str(folder), ENTER)
        terminal.wait_for("怎么办")
        lines[4] = lines[3].replace("3", "333")
        (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
        terminal.send("1", ENTER).wait_for("27 条都能用").wait_for("名字")


def test_escape_goes_back_everywhere_with_the_answers_kept(place: Character) -> None:
    with place.talk() as terminal:
        terminal.wait_for("教它哪些对话").send("2", ENTER).wait_for("名字").send("linzhi", ENTER)
        base_typed(terminal, place).wait_for("就这样").send(ESCAPE)
        terminal.wait_for("在哪个模型上学").send(ESCAPE).wait_for("名字").wait_for("linzhi").send(ESCAPE)
        terminal.wait_for("» 2) data/小店 shop/").send(ENTER).wait_for("名字").send(ENTER)
        terminal.wait_for("在哪个模型上学").send(ENTER).wait_for("可以把文件拖进来").send(ENTER).wait_for("就这样")
        assert terminal.has_shown("6.5 轮")
        terminal.send(ESCAPE, ESCAPE, ESCAPE).wait_for("教它哪些对话").send(ESCAPE)
        assert terminal.finish() == 3


def test_without_an_ollama_that_is_told_first_and_training_now_is_one_of_the_answers(place: Character) -> None:
    nobody = {"OLLAMA_HOST": "127.0.0.1:9", "PATH": str(place.program.folder)}
    with place.talk(**nobody) as terminal:
        terminal.wait_for("没有 Ollama，怎么办").wait_for("https://ollama.com/download").send("2", ENTER)
        terminal.wait_for("没有 Ollama，怎么办").send("1", ENTER).wait_for("教它哪些对话").send(ENTER)
        terminal.wait_for("名字").send("linzhi", ENTER)
        base_typed(terminal, place).wait_for("就这样")
        assert terminal.has_shown("先不放进 Ollama") and "--no_register" in command_on(terminal)
        terminal.send(ESCAPE, ESCAPE, ESCAPE, ESCAPE).wait_for("没有 Ollama，怎么办").send("3", ENTER)
        assert terminal.finish() == 3


QUESTIONS = ("教它哪些对话", "名字", "在哪个模型上学", "就这样")


@pytest.mark.parametrize("number", range(len(QUESTIONS)))
def test_control_c_at_any_question_cancels_and_leaves_nothing(place: Character, number: int) -> None:
    with place.talk() as terminal:
        for question, keys in zip(QUESTIONS[:number], ("", "linzhi", None), strict=False):
            if keys is None:
                base_typed(terminal, place)
            else:
                terminal.wait_for(question).send(*keys, ENTER)
        terminal.wait_for(QUESTIONS[number]).send(CTRL_C)
        assert terminal.finish() == 3
        assert terminal.has_shown("已取消，什么都没有改动")
    assert not (place.program.history.home / "linzhi").exists()


@pytest.mark.parametrize("columns", [80, 60])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_no_line_of_the_way_is_broken_in_two_but_for_prose(place: Character, columns: int, language: str) -> None:
    with place.talk(columns=columns, language=language) as terminal:
        first = "教它哪些对话" if language == "zh" else "Which dialogues"
        terminal.wait_for(first).settled()
        rows = [line for line in terminal.screen.split("\n") if ") data/" in line]
        assert len(rows) == 2 and all("87" in row or "8 " in row for row in rows)
        terminal.send(ENTER).wait_for("名字" if language == "zh" else "Name").send("linzhi", ENTER)
        terminal.wait_for("Qwen2.5-0.5B").settled()
        for name in ("Qwen2.5-0.5B", "Qwen3-0.6B", "Qwen2.5-1.5B"):
            (row,) = [line for line in terminal.screen.split("\n") if name in line]
            assert re.search("内存|memory|分钟|min", row), terminal.screen
