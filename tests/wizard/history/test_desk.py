"""The history on a pseudo-terminal: through the list, a run's details, two side by side, a switch, a note, and back."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_export.server.client import OllamaClient
from tests.ollama_server.server import OllamaServer
from tests.support.character import Character, trained
from tests.support.past_runs import NAME, published, record_run, record_runs
from tests.support.project import ROOT
from tests.support.terminal import CLEAR, CTRL_C, DOWN, ENTER, ESCAPE, Terminal
from tests.wizard.test_lookups import Backed

pytestmark = pytest.mark.posix("a pseudo-terminal of POSIX")
UP = "\x1b[A"
LANGUAGES = pytest.mark.parametrize("language", ["zh", "en"])


def start(home: Path, *flags: str, language: str = "zh", host: str = "127.0.0.1:9", **size: int) -> Terminal:
    said = {"TRAIN_TO_OLLAMA_HOME": str(home), "OLLAMA_HOST": host, "TRAIN_TO_OLLAMA_LANG": language}
    return Terminal(["train_to_ollama.py", "--history", *flags], environment=said, **size)  # type: ignore[arg-type]


def pointed_at(terminal: Terminal) -> str:
    (row,) = [line for line in terminal.screen.splitlines() if line.startswith("» ")]
    return " ".join(row.split())


@LANGUAGES
def test_through_list_details_and_side_by_side_and_back(tmp_path: Path, language: str) -> None:
    record_runs(tmp_path)
    zh = language == "zh"
    with start(tmp_path, "--ollama_name", NAME, language=language, rows=48) as terminal:
        terminal.wait_for("空格 选两次对比" if zh else "space two to compare").settled()
        # the newest is pointed at
        assert "没练完 30%" in pointed_at(terminal) if zh else "unfinished 30%" in pointed_at(terminal)
        terminal.send(UP, UP, ENTER).wait_for("比上一次新增 25 条" if zh else "25 rows new").settled()
        assert terminal.has_shown("（从书架后面")
        terminal.send(ESCAPE).wait_for("u 换上这一次" if zh else "u use this run").settled()
        assert pointed_at(terminal).startswith("» 3 ")
        terminal.send(" ").settled()
        assert "◆" in pointed_at(terminal)
        terminal.send("2", " ").wait_for("（捏着衣角）我叫林栀。").settled()
        assert terminal.has_shown("一样的" if zh else "alike")
        terminal.send(ENTER).settled()
        assert "◆" not in terminal.screen and pointed_at(terminal).startswith("» 2 ")
        assert terminal.send(ESCAPE).finish() == 0
        # what was drawn is taken away again
        assert "» " not in terminal.everything


def test_the_whole_of_a_runs_details_can_be_read_on_a_low_terminal(tmp_path: Path) -> None:
    record_runs(tmp_path)
    with start(tmp_path, "--ollama_name", NAME, rows=12) as terminal:
        terminal.wait_for("Esc 返回").settled().send("4", ENTER).wait_for("↑/↓ 翻看").settled()
        assert "再练一次同样的" not in terminal.screen and "第 4 次" in terminal.screen
        terminal.send("\x1b[6~").settled().send("\x1b[6~", "\x1b[6~", "\x1b[6~", DOWN).settled()
        assert "再练一次同样的" in terminal.screen and "第 4 次" in terminal.screen
        assert "--lora_rank 16" in terminal.screen
        terminal.send("\x1b[H").settled()
        assert "  时间 " in terminal.screen
        assert terminal.send(ESCAPE).settled().send(CTRL_C).finish() == 3


def test_fifty_runs_are_chosen_by_their_numbers_and_the_list_follows(tmp_path: Path) -> None:
    for number in range(1, 51):
        record_run(tmp_path, "2026-11-20T11:30:00+00:00", 2.0 + number, **published(number))
    with start(tmp_path, "--ollama_name", NAME) as terminal:
        terminal.wait_for("Esc 返回").settled()
        assert pointed_at(terminal).startswith("» 50 ") and " 52.0 " in terminal.screen
        for keys, row in (
            (["1"], "» 1 "),
            (["2"], "» 12 "),
            (["４"], "» 4 "),
            (["9"], "» 49 "),
            ([DOWN, DOWN], "» 50 "),
            (["\x1b[H"], "» 1 "),
            (["k", "j"], "» 2 "),
        ):
            terminal.send(*keys).settled()
            assert pointed_at(terminal).startswith(row), keys
            assert "次" in terminal.screen.splitlines()[1], "the head stays"
        assert terminal.send(ESCAPE).finish() == 0


def test_with_several_characters_one_is_chosen_first_and_esc_comes_back_to_that(tmp_path: Path) -> None:
    record_runs(tmp_path)
    record_run(tmp_path, "2026-11-20T11:30:00+00:00", 2.0, name="parrot")
    with start(tmp_path) as terminal:
        terminal.wait_for("看哪一个").wait_for("2) parrot").send("2", ENTER).wait_for("📋 parrot").settled()
        terminal.send(ESCAPE).wait_for("看哪一个").settled().send("1", ENTER).wait_for("📋 linzhi").settled()
        terminal.send(ESCAPE).wait_for("看哪一个").settled()
        assert terminal.send(ESCAPE).finish() == 0


@LANGUAGES
def test_a_note_is_written_changed_and_taken_away(tmp_path: Path, language: str) -> None:
    runs = record_runs(tmp_path)

    def note() -> str:
        import json

        return str(json.loads((runs[1].folder / "run.json").read_text(encoding="utf-8"))["note"])

    zh = language == "zh"
    asked = "第 2 次的备注" if zh else "A note on run 2"
    with start(tmp_path, "--ollama_name", NAME, language=language) as terminal:
        terminal.wait_for("Esc 返回" if zh else "Esc back").settled().send("2", "n").wait_for(asked)
        terminal.send("更害羞了", ENTER).settled()
        assert note() == "更害羞了" and "更害羞" in pointed_at(terminal)
        terminal.send("n").wait_for(asked).send("字" * 201, ENTER).wait_for("✗").send(CLEAR, "话 少\t", ENTER).settled()
        assert note() == "话 少"
        terminal.send("n").wait_for(asked).send(CLEAR, ESCAPE).settled()
        assert note() == "话 少"
        terminal.send("n").wait_for(asked).send(CLEAR, ENTER).settled()
        assert note() == ""
        assert terminal.send(ESCAPE).finish() == 0


def undo_command(terminal: Terminal) -> list[str]:
    """The words of the command that was told behind the last switch."""
    lines = re.findall(r"^ {2}(\S.*--rollback --run \d+|ollama cp .*)$", terminal.unfolded, re.MULTILINE)
    return shlex.split(lines[-1])


@LANGUAGES
def test_switching_keeps_what_stands_and_the_command_that_is_told_undoes_it(
    tmp_path: Path, ollama_server: OllamaServer, tiny_gguf: Path, language: str
) -> None:
    backed = Backed(tmp_path, ollama_server, tiny_gguf)
    before = backed.tags["zzhua:latest"]
    zh = language == "zh"
    home, host = backed.history.home, ollama_server.url
    with start(home, "--ollama_name", "zzhua", language=language, host=host, columns=120) as terminal:
        terminal.wait_for("★").settled().send("u").settled()
        assert ("现在用的就是第 2 次" if zh else "Run 2 is what is in use") in terminal.screen
        terminal.send("1", "u").wait_for("把 zzhua 换成第 1 次" if zh else "Let zzhua be run 1").settled()
        assert ("第 2 次留作备份" if zh else "Run 2, which stands now, is kept") in terminal.screen
        terminal.send("3", ENTER).settled()
        assert backed.tags["zzhua:latest"] == before
        terminal.send("u").settled().send(ENTER).wait_for(
            "zzhua 现在是第 1 次" if zh else "zzhua is run 1 now"
        ).settled()
        assert pointed_at(terminal).startswith("» ★ 1 ")
        words = undo_command(terminal)
        assert terminal.send(ESCAPE).finish() == 0
    tags = backed.tags
    assert tags["zzhua:latest"] == tags["zzhua:backup-20260101-1"] and before in tags.values()
    environment = {"TRAIN_TO_OLLAMA_HOME": str(home), "OLLAMA_HOST": host}
    subprocess.run(words, env={**os.environ, **environment}, cwd=ROOT, stdin=subprocess.DEVNULL, check=True)
    assert backed.tags["zzhua:latest"] == before


def test_of_a_model_made_elsewhere_the_backup_is_named_as_the_way_back(
    tmp_path: Path, ollama_server: OllamaServer, tiny_gguf: Path
) -> None:
    import hashlib

    backed = Backed(tmp_path, ollama_server, tiny_gguf)
    digest = hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()
    backed.client.copy("zzhua:backup-20260101-1", "zzhua:mine")
    other = tmp_path / "other.gguf"
    other.write_bytes(tiny_gguf.read_bytes() + bytes(32))
    changed = hashlib.sha256(other.read_bytes()).hexdigest()
    assert changed != digest
    backed.client.upload(other, changed)
    backed.client.create("zzhua", files={"m.gguf": changed}, system="somebody else's")
    made = backed.tags["zzhua:latest"]
    with start(backed.history.home, "--ollama_name", "zzhua", host=ollama_server.url, columns=120) as terminal:
        terminal.wait_for("Esc 返回").settled()
        assert "★" not in terminal.screen
        terminal.send("1", "u").wait_for("把 zzhua 换成第 1 次").settled()
        assert "留作备份" not in terminal.screen
        terminal.send(ENTER).wait_for("zzhua 现在是第 1 次").settled()
        words = undo_command(terminal)
        assert terminal.send(ESCAPE).finish() == 0
    assert words[:2] == ["ollama", "cp"] and words[3] == "zzhua" and backed.tags[words[2]] == made


def test_without_ollama_a_switch_says_why_and_the_list_comes_again(tmp_path: Path) -> None:
    record_runs(tmp_path)
    with start(tmp_path, "--ollama_name", NAME) as terminal:
        terminal.wait_for("Esc 返回").settled().send("u").settled()
        assert "第 5 次没有练完" in terminal.screen
        terminal.send("1", "u").wait_for("把 linzhi 换成第 1 次").send(ENTER).wait_for("✗ 连不上 Ollama").settled()
        assert pointed_at(terminal).startswith("» 1 ")
        assert terminal.send(ESCAPE).finish() == 0


def test_a_name_that_another_program_works_on_is_neither_switched_nor_written_on(tmp_path: Path) -> None:
    from pipeline.run.history import History

    record_runs(tmp_path)
    with History(tmp_path).lock(NAME), start(tmp_path, "--ollama_name", NAME) as terminal:
        terminal.wait_for("Esc 返回").settled().send("1", "u").wait_for("把 linzhi 换成第 1 次").send(ENTER)
        terminal.wait_for("✗").settled().send("n").wait_for("第 1 次的备注").send("x", ENTER).settled()
        assert terminal.everything.count("✗ ") == 2
        assert terminal.send(ESCAPE).finish() == 0
    assert "note" not in History(tmp_path).runs(NAME)[0].record


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Character]:
    with trained(tmp_path_factory.mktemp("地方 place")) as character:
        character.train("--continue_train", "--add_epochs", "0.5", "--no_backup", "--note", "话少")
        yield character


def test_a_run_without_a_backup_is_made_again_from_its_adapter(place: Character) -> None:
    client = OllamaClient(place.server.url)
    before = client.digest(place.name)
    with place.about("--history", columns=150) as terminal:
        terminal.wait_for("★").settled()
        assert "话少" in pointed_at(terminal)
        terminal.send("1", "u").wait_for("换成第 1 次").send(ENTER).wait_for("现在是第 1 次").settled()
        words = undo_command(terminal)
        assert terminal.send(ESCAPE).finish() == 0
    first, second = place.program.history.runs(place.name)
    assert client.digest(place.name) in first.digests - {before} and before in second.digests
    subprocess.run(words, env=place.program.environment, cwd=place.program.folder, stdin=subprocess.DEVNULL, check=True)
    assert client.digest(place.name) == before


def test_another_run_is_talked_to_before_it_is_decided_about(place: Character) -> None:
    client = OllamaClient(place.server.url)
    before = client.digest(place.name)
    with place.about("--history", columns=150) as terminal:
        terminal.wait_for("★").settled()
        terminal.send("1", "u").wait_for("换成第 1 次").send("2", ENTER)
        # it stands in Ollama as a backup, and is asked there
        terminal.wait_for("第 1 次训练，1.0 轮").wait_for("\n>")
        terminal.send("你好", ENTER).wait_for("\n>").send("/bye", ENTER)
        terminal.wait_for("先和它聊两句再决定").settled()
        assert terminal.send("3", ENTER).settled().send(ESCAPE).finish() == 0
    assert client.digest(place.name) == before


def test_a_terminal_that_can_not_move_its_cursor_gets_the_table(tmp_path: Path) -> None:
    record_runs(tmp_path)
    said = {"TRAIN_TO_OLLAMA_HOME": str(tmp_path), "OLLAMA_HOST": "127.0.0.1:9", "TERM": "dumb"}
    command = ["train_to_ollama.py", "--history", "--ollama_name", NAME]
    with Terminal(command, environment=said) as terminal:
        assert terminal.finish() == 0
        assert terminal.has_shown("数据变了") and "Esc" not in terminal.everything
