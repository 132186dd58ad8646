"""Where dialogues are asked for, what people have in their place is brought in, and the conversation goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data_desk.samples import FOLDER
from tests.support.character import Character, trained
from tests.support.terminal import ENTER, ESCAPE, Terminal

pytestmark = pytest.mark.posix("a pseudo-terminal of POSIX")

WECHAT, TABLE, TEXT = (str(FOLDER / name) for name in ("wechat.txt", "table-dialogues.tsv", "plain-zh.txt"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Character]:
    with trained(tmp_path_factory.mktemp("地方 place")) as character:
        yield character


def typed(terminal: Terminal, row: str, path: str) -> Terminal:
    """Answer the question for dialogues by the row `row`, and that for a path by `path`."""
    terminal.wait_for("教它哪些对话").wait_for("导入聊天记录").settled()
    line = next(line for line in reversed(terminal.screen.split("\n")) if f") {row}" in line)
    terminal.send(line.split(")")[0][-1], ENTER)
    return terminal.wait_for("拖进来").send(f"'{path}'", ENTER)


def into(terminal: Terminal, folder: str) -> Terminal:
    """Answer where the rows go by a folder that isn't there yet."""
    terminal.wait_for("放到哪里").settled()
    line = next(line for line in reversed(terminal.screen.split("\n")) if ") 别的文件夹" in line)
    return terminal.send(line.split(")")[0][-1], ENTER).wait_for("哪个文件夹").send(folder, ENTER)


@pytest.mark.parametrize("row", ["导入聊天记录", "别处的文件或文件夹"])
def test_a_chat_log_becomes_what_a_new_character_is_taught(place: Character, row: str, tmp_path: Path) -> None:
    folder = tmp_path / "新的 new"
    with place.talk() as terminal:
        typed(terminal, row, WECHAT).wait_for("谁是你的角色").settled().send(ENTER)
        into(terminal, str(folder)).wait_for("这样行吗").settled().send(ENTER)
        terminal.wait_for("2 条都能用，一共 3 个回答").wait_for("名字")
    assert (folder / "train.jsonl").is_file()


def test_a_character_that_has_a_name_gets_a_folder_of_its_own(place: Character) -> None:
    with place.talk("--ollama_name", "shop") as terminal:
        typed(terminal, "导入聊天记录", WECHAT).wait_for("谁是你的角色").settled().send(ENTER)
        terminal.wait_for("加到 data/shop（").settled().send(ENTER)
        terminal.wait_for("2 条都能用")
    assert (place.program.folder / "data" / "shop" / "train.jsonl").is_file()


def test_leaving_the_import_leads_back_to_the_question_and_writes_nothing(place: Character, tmp_path: Path) -> None:
    with place.talk() as terminal:
        typed(terminal, "导入聊天记录", WECHAT).wait_for("谁是你的角色").settled().send(ESCAPE)
        typed(terminal, "导入聊天记录", WECHAT).wait_for("谁是你的角色").settled().send(ENTER)
        into(terminal, str(tmp_path / "d")).wait_for("这样行吗").settled().send("3", ENTER)
        terminal.wait_for("教它哪些对话")
        (tmp_path / "x.bin").write_bytes(b"\0\1\2" * 100)
        typed(terminal, "导入聊天记录", str(tmp_path / "x.bin")).wait_for("✗").wait_for("教它哪些对话")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(("name", "path"), [("table", TABLE), ("text", TEXT)])
def test_what_a_training_can_not_read_is_offered_to_be_brought_in(place: Character, name: str, path: str) -> None:
    with place.talk("--ollama_name", name, "--train_file", path) as terminal:
        terminal.wait_for("怎么办").wait_for("» 1) 导入它").settled().send(ENTER)
        if path == TABLE:
            terminal.wait_for("哪一列是角色说的").settled().send("3", ENTER)
        terminal.wait_for("这样行吗").settled().send(ENTER)
        terminal.wait_for("都能用").wait_for("在哪个模型上学")
    assert (place.program.folder / "data" / name / "train.jsonl").is_file()


@pytest.mark.parametrize("line", ["{]", '{"messages": [{"role": "user", "content": "a"}]}'])
def test_a_faulty_row_is_no_other_format(place: Character, tmp_path: Path, line: str) -> None:
    good = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
    (tmp_path / "train.jsonl").write_text(f"{good}{line}\n", encoding="utf-8")
    with place.talk("--ollama_name", "new", "--data_dir", str(tmp_path)) as terminal:
        terminal.wait_for("怎么办").wait_for("换别的对话").settled()
        assert "导入它" not in terminal.everything
