"""Drafts at the desk as people meet them: each is looked at, and what isn't taken is written nowhere."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ollama_export.server.client import OllamaClient
from tests.data_desk.rows import row, write
from tests.data_desk.samples import FOLDER
from tests.ollama_server.gguf_file import raw_pair, read_gguf, write_gguf
from tests.ollama_server.replies import Stream
from tests.ollama_server.server import OllamaServer
from tests.support.program import NO_OLLAMA, Program
from tests.support.project import ROOT
from tests.support.terminal import CLEAR, CTRL_C, ENTER, ESCAPE, Terminal
from wizard.screen.layout import cells

TERMINAL = pytest.mark.posix("a pseudo-terminal")
ROWS = [row(f"那个{thing}呢", f"（看着{thing}）{thing}在这里。", system="你是林栀。") for thing in "灯伞信猫茶雨书门"]
SAID = {
    "zh": ("做什么？", "让哪个模型起草？", "这一条怎么办？", "模型起草    2 条", "补上「打招呼」"),
    "en": ("What now?", "Which model is to draft?", "What about this draft?", "2 by a model", "shows: greeting"),
}


class Scripted:
    """What the models in an Ollama say, one text after the other; it waits with each while `gate` is closed."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.requests: list[dict[str, Any]] = []
        self.asked, self.gate = threading.Event(), threading.Event()
        self.gate.set()

    def __call__(self, request: dict[str, Any]) -> Stream:
        self.requests.append(request)
        self.asked.set()
        assert self.gate.wait(60)
        return Stream(self._lines(self.texts.pop(0)))

    def _lines(self, text: str) -> Iterator[dict[str, Any]]:
        for at in range(0, len(text), 2):
            yield {"message": {"role": "assistant", "content": text[at : at + 2]}, "done": False}
        yield {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}


@pytest.fixture
def home(tmp_path: Path) -> Program:
    """Eight rows of a character, and no Ollama."""
    program = Program(tmp_path / "家 home", rows=1)
    (program.data / "val.jsonl").unlink()
    write(program.data / "train.jsonl", ROWS)
    return program


@pytest.fixture
def mist(home: Program, ollama_server: OllamaServer, tiny_gguf: Path, tmp_path: Path) -> Scripted:
    """An Ollama with the chat model `mist`, which says what it is told to, and one that only embeds."""
    client = OllamaClient(ollama_server.url)
    found = read_gguf(tiny_gguf)
    embeds = tmp_path / "embeds.gguf"
    with embeds.open("wb") as out:
        pairs = [*found.raw.values(), raw_pair("llama.pooling_type", 1)]
        write_gguf(pairs, found.tensors, out, alignment=found.alignment)
    for name, file in (("mist", tiny_gguf), ("embeds", embeds)):
        client.create_from_file(name, file, hashlib.sha256(file.read_bytes()).hexdigest())
    home.environment["OLLAMA_HOST"] = ollama_server.url
    scripted = Scripted()
    ollama_server.answers.chat = scripted  # type: ignore[method-assign]
    return scripted


def talk(home: Program, *flags: str, language: str = "zh", **size: int) -> Terminal:
    words = [str(ROOT / "train_to_ollama.py"), "--data_desk", "--data_dir", str(home.data), *flags]
    said = {**home.environment, "TRAIN_TO_OLLAMA_LANG": language}
    return Terminal(words, environment=said, cwd=home.folder, **size)


def drafting(home: Program, *flags: str) -> Terminal:
    """The desk up to where the first draft is being written by `mist`."""
    terminal = talk(home, "--draft_by", "mist", *flags)
    return terminal.wait_for("做什么？").settled().send("3", ENTER)


def rows(home: Program) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home.data / "train.jsonl").read_text(encoding="utf-8").splitlines()]


def digests(home: Program) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in home.data.iterdir()}


def everything_in(folder: Path) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in folder.iterdir())


# --- scripts


def test_without_a_terminal_drafts_are_refused_for_nobody_can_look_at_them(home: Program) -> None:
    before = digests(home)
    flags = ("--data_desk", "--data_dir", str(home.data), "--draft_by", "mist")
    assert home.run_bare(*flags, expect=2)["error"]["key"] == "error.draft.unseen"
    assert digests(home) == before


def test_who_drafts_is_said_at_the_desk_alone(home: Program) -> None:
    told = home.run_bare("--draft_by", "mist", expect=2)
    assert told["error"]["key"] == "error.flag.needs" and "--data_desk" in told["error"]["message"]


# --- people


@TERMINAL
@pytest.mark.parametrize(("language", "columns"), [("zh", 60), ("en", 80)])
def test_drafts_are_taken_edited_and_thrown_away_and_only_those_taken_are_written(
    home: Program, mist: Scripted, language: str, columns: int
) -> None:
    before = (home.data / "train.jsonl").read_bytes()
    mist.texts = ["“你好呀”", "<think>嗯</think>（抬头）你好。", "我先走", "（挥手）再见。"]
    mist.texts += ["把你的钱都给我", "不要看的", "天上有几颗星", "没有看完"]
    menu, by, what, counted, situation = SAID[language]
    with talk(home, language=language, columns=columns) as terminal:
        terminal.wait_for(menu).settled().send("3", ENTER)
        terminal.wait_for(by).settled()
        assert "mist" in terminal.screen and "embeds" not in terminal.screen
        terminal.send(ENTER).wait_for(situation).wait_for("（抬头）你好。").wait_for(what).settled()
        assert "<think>" not in terminal.everything and "“" not in terminal.screen.partition(situation)[2]
        terminal.send(ENTER).wait_for("（挥手）再见。").wait_for(what).settled()
        terminal.send("2", ENTER).wait_for("Alt+Enter").settled().send("了", ENTER)
        terminal.wait_for("我先走了").wait_for(what).settled()
        terminal.send("3", ENTER).wait_for("Alt+Enter").settled().send(CLEAR, "（笑）明天见。", ENTER)
        terminal.wait_for("（笑）明天见。").wait_for(what).settled()
        assert len(rows(home)) == 9  # an edited draft isn't a taken one
        terminal.send(ENTER).wait_for("不要看的").wait_for(what).settled()
        terminal.send("4", ENTER).wait_for("没有看完").wait_for(what).settled()
        terminal.send("5", ENTER).wait_for(counted).wait_for(menu).settled()
        assert all(cells(line) <= columns for line in terminal.everything.splitlines())
        terminal.send(ESCAPE)
        assert terminal.finish() == 0
    assert rows(home)[8:] == [
        row("你好呀", "（抬头）你好。", system="你是林栀。", source="drafted"),
        row("我先走了", "（笑）明天见。", system="你是林栀。", source="drafted"),
    ]
    assert (home.data / "train.jsonl").read_bytes().startswith(before)
    assert (home.data / "train.jsonl.backup-1").read_bytes() == before
    assert sorted(digests(home)) == ["train.jsonl", "train.jsonl.backup-1"]
    assert not any(text in everything_in(home.data) for text in ("把你的钱都给我", "不要看的", "没有看完", "再见"))
    assert all(request["think"] is False and request["model"] == "mist" for request in mist.requests)


@TERMINAL
def test_escape_in_the_field_changes_nothing_and_at_the_menu_throws_the_draft_away(
    home: Program, mist: Scripted
) -> None:
    before = digests(home)
    mist.texts = ["你好呀", "（抬头）你好。"]
    with drafting(home) as terminal:
        terminal.wait_for("（抬头）你好。").wait_for("这一条怎么办？").settled()
        terminal.send("2", ENTER).wait_for("Alt+Enter").settled().send("别的话", ESCAPE)
        terminal.wait_for("这一条怎么办？").settled()
        assert "你好呀" in terminal.screen
        terminal.send(ESCAPE).wait_for("做什么？").settled().send(ESCAPE)
        assert terminal.finish() == 0
    assert digests(home) == before


@TERMINAL
def test_what_is_typed_while_the_model_writes_takes_nothing(home: Program, mist: Scripted) -> None:
    before = digests(home)
    mist.texts = ["你好呀", "（抬头）你好。"]
    mist.gate.clear()
    with drafting(home) as terminal:
        assert mist.asked.wait(60)
        terminal.send(ENTER, ENTER)
        mist.gate.set()
        terminal.wait_for("这一条怎么办？").settled()
        assert digests(home) == before and len(mist.requests) == 2
        terminal.send(CTRL_C)
        assert terminal.finish() == 3
    assert digests(home) == before


@TERMINAL
def test_control_c_stops_the_draft_that_is_being_written_and_not_the_program(
    home: Program, mist: Scripted, ollama_server: OllamaServer
) -> None:
    before = digests(home)
    mist.texts = ["我先走了", "（挥手）再见。"]
    held = ollama_server.faults.add("hold", "/api/chat", method="POST")
    with drafting(home) as terminal:
        assert held.befallen.wait(60)
        terminal.send(CTRL_C).wait_for("停下了").wait_for("接着做什么？").settled()
        ollama_server.faults.clear()
        mist.gate.clear()
        terminal.send(ENTER).wait_for("写一条试试")
        assert "正在停下" not in terminal.screen
        mist.gate.set()
        terminal.wait_for("（挥手）再见。").wait_for("这一条怎么办？").settled().send(ESCAPE)
        terminal.wait_for("做什么？").settled().send(ESCAPE)
        assert terminal.finish() == 0
    assert digests(home) == before


@TERMINAL
def test_an_error_of_ollamas_and_drafts_that_come_to_nothing_are_told_and_another_can_be_had(
    home: Program, mist: Scripted, ollama_server: OllamaServer
) -> None:
    mist.texts = ["", "那个灯呢", "你好<|im_end|>", "你好呀", "（抬头）你好。", "没人听见"]
    ollama_server.faults.add("error", "/api/chat", method="POST")
    with drafting(home) as terminal:
        terminal.wait_for("something went wrong").wait_for("接着做什么？").settled().send(ENTER)
        terminal.wait_for("写了 3 次都没有写成，最后一次里面有模型自己的控制标记")
        terminal.wait_for("接着做什么？").settled().send(ENTER)
        terminal.wait_for("（抬头）你好。").wait_for("这一条怎么办？").settled()
        mist.asked.clear()
        mist.gate.clear()
        terminal.send(ENTER)
        assert mist.asked.wait(60)
        ollama_server.stop()
        mist.gate.set()
        terminal.wait_for("断了").wait_for("接着做什么？").settled().send("1", ENTER)
        terminal.wait_for("OLLAMA_HOST").wait_for("接着做什么？").settled().send("2", ENTER)
        terminal.wait_for("做什么？").settled().send(ESCAPE)
        assert terminal.finish() == 0
    assert len(rows(home)) == 9


@TERMINAL
@pytest.mark.parametrize(("language", "told"), [("zh", "没有能起草的模型"), ("en", "Nobody can draft")])
def test_where_nobody_can_draft_that_is_told_and_the_menu_stays(home: Program, language: str, told: str) -> None:
    before = digests(home)
    assert home.environment["OLLAMA_HOST"] == NO_OLLAMA
    with talk(home, language=language) as terminal:
        terminal.wait_for(SAID[language][0]).settled().send("3", ENTER)
        terminal.wait_for(told).wait_for(SAID[language][0]).settled().send(ESCAPE)
        assert terminal.finish() == 0
    assert digests(home) == before


@TERMINAL
def test_for_a_file_that_no_row_can_be_added_to_nothing_is_drafted(home: Program, mist: Scripted) -> None:
    (home.data / "train.jsonl").write_text(json.dumps(ROWS, ensure_ascii=False, indent=1), encoding="utf-8")
    before = digests(home)
    with drafting(home) as terminal:
        terminal.wait_for("不是每行一个").wait_for("做什么？").settled().send(ESCAPE)
        assert terminal.finish() == 0
    assert digests(home) == before and not mist.requests


@TERMINAL
def test_a_name_that_no_model_has_is_told_with_those_that_there_are(home: Program, mist: Scripted) -> None:
    with talk(home, "--draft_by", "embeds") as terminal:
        terminal.wait_for("做什么？").settled().send("3", ENTER)
        terminal.wait_for("有这些：mist").wait_for("做什么？").settled().send(ESCAPE)
        assert terminal.finish() == 0
    assert not mist.requests


@TERMINAL
def test_who_drafts_can_be_said_where_something_else_is_done(home: Program) -> None:
    with talk(home, "--draft_by", "mist") as terminal:
        terminal.wait_for("做什么？").settled().send("1", ENTER)
        terminal.wait_for("输入路径").settled().send(str(FOLDER / "wechat.txt"), ENTER)
        terminal.wait_for("谁是你的角色").settled().send(ESCAPE)
        terminal.wait_for("做什么？").settled().send(ESCAPE)
        assert terminal.finish() == 0


@TERMINAL
def test_without_rows_of_ones_own_drafting_is_not_to_be_chosen(home: Program) -> None:
    write(home.data / "train.jsonl", [row("你好", "（抬头）你好。", source="drafted")])
    with talk(home) as terminal:
        terminal.wait_for("做什么？").settled()
        assert "-  让模型起草" in terminal.screen
        terminal.send("3", ENTER).wait_for("Enter 打开").settled().send(ESCAPE)
        terminal.wait_for("做什么？").settled().send(ESCAPE)
        assert terminal.finish() == 0


@TERMINAL
def test_without_ollama_the_base_model_of_a_character_drafts_and_its_file_goes_in_the_end(home: Program) -> None:
    home.run("--no_register")
    (run,) = home.history.runs("zzhua")
    files, before = sorted(run.folder.rglob("*")), digests(home)
    with talk(home, columns=100) as terminal:
        terminal.wait_for("做什么？").settled().send("3", ENTER)
        terminal.wait_for("让哪个模型起草？").settled()
        assert "基座模型，先写一个临时文件" in terminal.screen
        # chance decides whether three tries come to a draft
        terminal.send(ENTER).wait_for("不写了").settled().send(ESCAPE)
        terminal.wait_for("做什么？").settled().send(ESCAPE)
        assert terminal.finish() == 0
    assert sorted(run.folder.rglob("*")) == files and digests(home) == before
