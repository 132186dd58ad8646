"""From what people have, a chat, a card, a table, to a character that answers in Ollama, in one conversation."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_export.server.client import OllamaClient
from tests.data_desk.samples import FOLDER
from tests.support.character import Character, trained
from tests.support.terminal import ENTER
from tests.wizard.test_importing_in_between import typed

pytestmark = pytest.mark.posix("a pseudo-terminal of POSIX")


ROWS = {"wechat.txt": 2, "card-v2.png": 2, "table-zh.csv": 2, "table-sheets.xlsx": 4}
"""Sample -> the dialogues in it; the table is in GB18030."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Character]:
    with trained(tmp_path_factory.mktemp("地方 place")) as character:
        yield character


def copied(name: str, folder: Path) -> Path:
    return Path(shutil.copy(FOLDER / name, folder / name))


@pytest.mark.parametrize("source", [*ROWS])
def test_what_people_have_becomes_a_character_that_answers(place: Character, source: str, tmp_path: Path) -> None:
    path = copied(source, tmp_path)
    name = place.server.name(path.suffix[1:])
    flags = ("--ollama_name", name, "--base_model", str(place.program.base), "--epochs", "2")
    with place.talk(*flags) as terminal:
        typed(terminal, "导入聊天记录", str(path))
        if source == "wechat.txt":
            terminal.wait_for("谁是你的角色").settled().send(ENTER)
        terminal.wait_for(f"把 {ROWS[source]} 段加到 data/{name}（").settled().send(ENTER)
        terminal.wait_for(f"{ROWS[source]} 条都能用").wait_for("就这样").settled().send(ENTER)
        terminal.wait_for("Enter 继续").send(ENTER).wait_for("练好了，放进 Ollama 吗").settled().send("1", ENTER)
        terminal.wait_for("已经可以用了")
        assert terminal.finish() == 0
    (run,) = place.program.history.runs(name)
    assert run.record["data"]["rows"] == ROWS[source] and run.is_done
    answered = OllamaClient(place.server.url).chat(name, [{"role": "user", "content": "你好"}], num_predict=4)
    assert answered.tokens
