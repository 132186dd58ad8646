"""The data desk as scripts and people meet it: nothing changes unasked, and each change leaves a backup."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.data_desk.rows import row, write
from tests.data_desk.samples import FOLDER
from tests.support.past_runs import record_run
from tests.support.program import Program
from tests.support.project import ROOT
from tests.support.terminal import CLEAR, CTRL_C, DOWN, ENTER, ESCAPE, Terminal
from wizard.screen.layout import cells

THINGS = "灯伞信猫茶雨书门花糖"


@pytest.fixture
def home(tmp_path: Path) -> Program:
    """Ten rows of a character, two for validation."""
    program = Program(tmp_path / "家 home", rows=1)
    rows = [row(f"那个{thing}呢", f"（看着{thing}）{thing}在这里。", system="你是林栀。") for thing in THINGS]
    write(program.data / "train.jsonl", rows)
    write(program.data / "val.jsonl", [row("别的", "（点头）别的。"), row("还有", "（摇头）没有了。")])
    return program


def contents(file: Path) -> list[list[str]]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return [[message["content"] for message in json.loads(line)["messages"]] for line in lines]


def digests(home: Program) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in home.data.iterdir()}


def talk(home: Program, *flags: str, columns: int = 80, language: str = "zh", **more: str) -> Terminal:
    said = {**home.environment, "TRAIN_TO_OLLAMA_LANG": language, **more}
    words = [str(ROOT / "train_to_ollama.py"), "--data_desk", *(flags or ("--data_dir", str(home.data)))]
    return Terminal(words, columns=columns, environment=said, cwd=home.folder)


# --- scripts


def test_without_a_terminal_what_the_rows_are_like_is_told_and_nothing_changes(home: Program) -> None:
    before = digests(home)
    told = home.run_bare("--data_desk", "--data_dir", str(home.data))
    assert (told["status"], told["rows"], told["answers"], told["val_rows"], told["faults"]) == ("listed", 10, 10, 2, 0)
    assert told["file"] == str(home.data / "train.jsonl") and told["val_file"] == str(home.data / "val.jsonl")
    assert told["habits"][0] == {"kind": "begins_in_brackets", "text": "（…）", "share": 1.0, "against": []}
    assert told["missing"] == ["greeting", "farewell", "refusal", "not_knowing", "anger"]
    assert "10 rows / 10 answers" in told["shown"] and "100% begin with （…）" in told["shown"]
    assert digests(home) == before


def test_faults_and_what_stands_there_twice_are_remarks(home: Program) -> None:
    with (home.data / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row("那个灯呢", "（看着灯）灯在这里。", system="你是林栀。"), ensure_ascii=False))
        file.write("\n{broken\n")
    told = home.run_bare("--data_desk", "--train_file", str(home.data / "train.jsonl"))
    assert told["duplicates"] == [[1, 11]] and told["faults"] == 1
    assert "line 1 = 11" in told["shown"] and "faults keep it from being trained on: line 12" in told["shown"]


def test_a_models_dialogues_are_those_of_its_newest_run_else_of_its_own_folder(home: Program) -> None:
    write(home.folder / "data" / "linzhi" / "train.jsonl", [row("a", "b")])
    assert home.run_bare("--data_desk", "--ollama_name", "linzhi")["rows"] == 1
    run = record_run(home.history.home, "2026-01-01T10:00:00+00:00", 2.0)
    data = {**run.record["data"], "train_file": str(home.data / "train.jsonl"), "val_file": None}
    run.update(data=data)
    assert home.run_bare("--data_desk", "--ollama_name", "linzhi")["rows"] == 10


@pytest.mark.parametrize("flags", [("--epochs", "2"), ("--import", "a"), ("--history",), ("--clean",), ("--dry_run",)])
def test_the_desk_does_nothing_else(home: Program, flags: tuple[str, ...]) -> None:
    told = home.run_bare("--data_desk", *flags, expect=2)
    assert told["error"]["key"] == "error.flag.contradiction" and "--data_desk" in told["error"]["message"]


def test_what_isnt_there_is_told_to_scripts(home: Program) -> None:
    assert home.run_bare("--data_desk", "--data_dir", "nothing", expect=4)["error"]["key"] == "error.data.no_folder"


# --- people


@pytest.mark.posix("a pseudo-terminal")
@pytest.mark.parametrize(("columns", "language"), [(80, "zh"), (60, "zh"), (80, "en"), (60, "en")])
def test_the_desk_fits_and_leaving_it_changes_nothing(home: Program, columns: int, language: str) -> None:
    before = digests(home)
    with talk(home, columns=columns, language=language) as terminal:
        terminal.wait_for("What now?" if language == "en" else "做什么？").settled()
        shown = terminal.everything
        assert all(cells(line) <= columns for line in shown.splitlines())
        assert ("10 rows / 10 answers" if language == "en" else "10 条 / 10 个回答") in shown
        terminal.send(ESCAPE)
        assert terminal.finish() == 0
    with talk(home, columns=columns, language=language) as terminal:
        terminal.wait_for("What now?" if language == "en" else "做什么？").settled().send(CTRL_C)
        assert terminal.finish() == 3
    assert digests(home) == before


@pytest.mark.posix("a pseudo-terminal")
def test_a_terminal_without_the_signs_gets_plain_ones(home: Program) -> None:
    with talk(home, language="en", PYTHONIOENCODING="ascii", PYTHONUTF8="0") as terminal:
        terminal.wait_for("What now?").settled()
        assert "\n" + "-" * 80 + "\n" in terminal.everything and "─" not in terminal.everything
        terminal.send(ESCAPE)
        assert terminal.finish() == 0


@pytest.mark.posix("a pseudo-terminal")
def test_dialogues_are_chosen_from_those_that_there_are(home: Program) -> None:
    for name in ("a", "b"):
        write(home.folder / "data" / name / "train.jsonl", [row("问", name)])
    with talk(home, "--lang", "zh") as terminal:
        terminal.wait_for("看哪些对话？").settled().send("2", ENTER)
        terminal.wait_for("data/b/train.jsonl").wait_for("做什么？").settled().send(ESCAPE)
        assert terminal.finish() == 0


@pytest.mark.posix("a pseudo-terminal")
def test_a_dialogue_is_written_turn_by_turn_and_added_with_the_others_system_prompt(home: Program) -> None:
    before = (home.data / "train.jsonl").read_bytes()
    with talk(home) as terminal:
        terminal.wait_for("做什么？").settled().send("2", ENTER)
        terminal.wait_for("第 11 条").wait_for("用户").settled()
        assert terminal.has_shown("「道别」")
        terminal.send(ENTER)
        terminal.wait_for("先写用户说的话").send("我先走了", ENTER)
        terminal.wait_for("…").settled().send(ENTER)
        terminal.wait_for("角色").settled().send("（挥手）", ENTER)
        terminal.settled().send("明天见。", ENTER)
        terminal.settled().send(ENTER)
        terminal.settled().send(ENTER)
        terminal.wait_for("现在有 11 条").wait_for("做什么？").settled().send(ESCAPE)
        assert terminal.finish() == 0
    assert contents(home.data / "train.jsonl")[10:] == [["你是林栀。", "我先走了", "（挥手）\n明天见。"]]
    assert (home.data / "train.jsonl").read_bytes().startswith(before)
    assert (home.data / "train.jsonl.backup-1").read_bytes() == before


@pytest.mark.posix("a pseudo-terminal")
@pytest.mark.parametrize(("key", "code"), [(ESCAPE, 0), (CTRL_C, 3)])
def test_escape_and_control_c_in_the_middle_of_a_dialogue_save_nothing(home: Program, key: str, code: int) -> None:
    before = digests(home)
    with talk(home) as terminal:
        terminal.wait_for("做什么？").settled().send("2", ENTER)
        terminal.wait_for("用户").settled().send("我先走了", ENTER)
        terminal.settled().send(ENTER)
        terminal.wait_for("角色").settled().send("好", key)
        if code == 0:
            terminal.wait_for("做什么？").settled().send(ESCAPE)
        assert terminal.finish() == code
    assert digests(home) == before


@pytest.mark.posix("a pseudo-terminal")
def test_the_conversation_of_an_import_comes_back_to_the_desk(home: Program) -> None:
    with talk(home) as terminal:
        terminal.wait_for("做什么？").settled().send("1", ENTER)
        terminal.wait_for("输入路径").send("nothing", ENTER)
        terminal.wait_for("没有这个文件").send(CLEAR, str(FOLDER / "wechat.txt"), ENTER)
        terminal.wait_for("谁是你的角色").settled().send(ESCAPE)
        terminal.wait_for("做什么？").settled().send("1", ENTER)
        terminal.wait_for("输入路径").send(str(FOLDER / "wechat.txt"), ENTER)
        terminal.wait_for("谁是你的角色").settled().send(ENTER)
        terminal.wait_for("这样行吗").settled().send(ENTER)
        terminal.wait_for("12 条 / 13 个回答").wait_for("做什么？").settled().send(ESCAPE)
        assert terminal.finish() == 0
    assert len(contents(home.data / "train.jsonl")) == 12


@pytest.mark.posix("a pseudo-terminal")
def test_a_turn_is_edited_with_its_old_text_there_and_a_row_deleted_when_that_is_meant(home: Program) -> None:
    before = (home.data / "train.jsonl").read_bytes()
    lines = before.splitlines()
    with talk(home) as terminal:
        terminal.wait_for("做什么？").settled().send("4", ENTER)
        terminal.wait_for("Enter 打开").settled().send(DOWN, ENTER)
        terminal.wait_for("第 2 行，改哪一句").settled().send("3", ENTER)
        terminal.wait_for("伞在这里。").settled().send("你拿着。", ENTER)
        terminal.wait_for("第 2 行改好了").wait_for("第 2 行，改哪一句").settled().send(ESCAPE)
        # no answer is no
        terminal.wait_for("Enter 打开").settled().send("9", "d")
        terminal.wait_for("删掉第 9 行").settled().send(ENTER)
        terminal.wait_for("Enter 打开").settled().send("d")
        terminal.wait_for("删掉第 9 行").settled().send("y", ENTER)
        terminal.wait_for("第 9 行删掉了").wait_for("Enter 打开").settled().send(ESCAPE)
        terminal.wait_for("9 条 / 9 个回答").settled().send(ESCAPE)
        assert terminal.finish() == 0
    after = (home.data / "train.jsonl").read_bytes().splitlines()
    assert after == [
        lines[0],
        lines[1].replace("在这里。".encode(), "在这里。你拿着。".encode()),
        *lines[2:8],
        lines[9],
    ]
    assert (home.data / "train.jsonl.backup-1").read_bytes() == before
    assert not (home.data / "train.jsonl.backup-2").exists()


@pytest.mark.posix("a pseudo-terminal")
def test_faults_are_mended_at_the_desk_where_that_is_wanted(home: Program) -> None:
    file = home.data / "train.jsonl"
    fine = file.read_bytes()
    file.write_bytes(
        fine + b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},]}\n'
    )
    before = digests(home)
    with talk(home) as terminal:
        terminal.wait_for("做什么？").settled().send("5", ENTER)
        terminal.wait_for("删掉多余的逗号").wait_for("怎么办？").settled().send(ESCAPE)
        terminal.wait_for("做什么？").settled()
        assert digests(home) == before
        terminal.send("5", ENTER).wait_for("怎么办？").settled().send(ENTER)
        terminal.wait_for("这样行吗？").settled().send(ENTER)
        terminal.wait_for("11 条 / 11 个回答").wait_for("做什么？").settled().send("5", ENTER)
        terminal.wait_for("没有要修的").wait_for("做什么？").settled().send(ESCAPE)
        assert terminal.finish() == 0
    assert file.read_bytes().startswith(fine) and contents(file)[-1] == ["a", "b"]
    assert hashlib.sha256((home.data / "train.jsonl.backup-1").read_bytes()).hexdigest() == before["train.jsonl"]


@pytest.mark.posix("a pseudo-terminal")
def test_validation_rows_are_split_off_and_the_two_files_have_every_row_once(home: Program) -> None:
    rows = contents(home.data / "train.jsonl")
    with talk(home) as terminal:
        terminal.wait_for("做什么？").settled().send("6", ENTER)
        terminal.wait_for("已经有 2 条验证").wait_for("分出多少条").send(CLEAR, "10", ENTER)
        terminal.wait_for("1 到 9").send(CLEAR, "3", ENTER)
        terminal.wait_for("分出 3 条").wait_for("做什么？").settled().send(ESCAPE)
        assert terminal.finish() == 0
    train, val = contents(home.data / "train.jsonl"), contents(home.data / "val.jsonl")
    assert (len(train), len(val)) == (7, 5) and sorted(train + val[2:]) == sorted(rows)
    assert len(list(home.data.glob("*.backup-1"))) == 2


@pytest.mark.posix("a pseudo-terminal")
def test_the_system_prompt_of_all_rows_is_changed_when_that_is_meant(home: Program) -> None:
    before = digests(home)
    with talk(home) as terminal:
        terminal.wait_for("做什么？").settled().send("7", ENTER)
        terminal.wait_for("系统提示词（").settled().send("话少。", ENTER)
        terminal.wait_for("把 12 条").settled().send(ENTER)
        terminal.wait_for("做什么？").settled()
        assert digests(home) == before
        terminal.send("7", ENTER)
        terminal.wait_for("系统提示词（").settled().send("话少。", ENTER)
        terminal.wait_for("把 12 条").settled().send("y", ENTER)
        terminal.wait_for("12 条的系统提示词换好了").wait_for("做什么？").settled().send(ESCAPE)
        assert terminal.finish() == 0
    for name in ("train", "val"):
        assert {said[0] for said in contents(home.data / f"{name}.jsonl")} == {"你是林栀。话少。"}


@pytest.mark.posix("a pseudo-terminal")
@pytest.mark.parametrize("number", ["1", "2", "4", "6", "7"])
def test_escape_leads_back_from_every_row_of_the_menu_and_changes_nothing(home: Program, number: str) -> None:
    before = digests(home)
    with talk(home) as terminal:
        terminal.wait_for("做什么？").settled().send(number, ENTER)
        terminal.settled().send(ESCAPE)
        terminal.wait_for("做什么？").settled().send(ESCAPE)
        assert terminal.finish() == 0
    assert digests(home) == before


@pytest.mark.posix("a pseudo-terminal")
def test_a_file_that_has_not_a_row_on_each_line_is_looked_at_and_left_as_it_is(home: Program) -> None:
    rows = [json.loads(line) for line in (home.data / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    (home.data / "train.jsonl").write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    before = digests(home)
    with talk(home) as terminal:
        terminal.wait_for("10 条 / 10 个回答").wait_for("做什么？").settled().send("4", ENTER)
        terminal.wait_for("不是每行一个").wait_for("做什么？").settled().send(ESCAPE)
        assert terminal.finish() == 0
    assert digests(home) == before
