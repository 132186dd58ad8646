"""Every question as it stands on the screen, in both languages, at 80 and at 60 columns: looked at, and kept."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.character import Character, trained
from tests.support.terminal import ENTER, Terminal
from tests.wizard.test_new_model import write_rows

pytestmark = pytest.mark.posix("a pseudo-terminal of POSIX")
GOLDEN = Path(__file__).resolve().parent / "golden"
MEASURED = (
    (r"\d+(?:\.\d+)? [GM]B", "# GB"),
    (r"(?:约 ?|about )?\d+(?:\.\d+)?(?:～\d+)? ?(?:秒|分钟|小时|s\b|min\b|h\b)", "# min"),
    (r"\d+ (?:s|min|h) to # min", "# min"),
    (r"20\d\d-\d\d-\d\d", "20##-##-##"),
    (r"\d\d:\d\d", "##:##"),
    (r"\d+\.\d\d\b", "#.##"),
)
"""What differs from machine to machine and from day to day."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Character]:
    with trained(tmp_path_factory.mktemp("place")) as character:
        write_rows(character.program.folder / "data", 87, val=14)
        write_rows(character.program.folder / "data" / "shop", 8)
        yield character


def said(terminal: Terminal) -> str:
    """The question that stands on the screen, from its mark on, without what is measured or padded."""
    text = terminal.screen[terminal.screen.rindex("\n? ") if "\n? " in terminal.screen else 0 :].strip("\n")
    for pattern, mask in MEASURED:
        text = re.sub(pattern, mask, text)
    text = re.sub(r"\S*/(?:pytest|tmp)\S*.*", "PATH", text)
    return "\n".join(re.sub(r" {2,}", "  ", line.rstrip()) for line in text.split("\n")) + "\n"


@pytest.mark.parametrize("columns", [80, 60])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_questions_are_the_golden_ones(place: Character, language: str, columns: int) -> None:
    seen = []

    def look(terminal: Terminal, *hint: str) -> Terminal:
        terminal.wait_for(hint[0 if language == "zh" else 1]).settled()
        seen.append(said(terminal))
        return terminal

    with place.talk(columns=columns, language=language) as terminal:
        look(terminal, "别处的文件", "elsewhere").send(ENTER)
        look(terminal, "名字（", "Name (")
    with place.about(columns=columns, language=language) as terminal:
        look(terminal, "取消操作", "4) ❌").send("1", ENTER)
        look(terminal, "5) 🌡", "5) 🌡").send("1", ENTER)
        look(terminal, "6) 自己输入", "6) type a number").send(ENTER)
        look(terminal, "3) 取消", "3) cancel").send("2", ENTER)
        look(terminal, "9) 更多", "9) more")
    with place.about("--continue_train", columns=columns, language=language) as terminal:
        terminal.wait_for("5) 🌡").send("2", ENTER)
        look(terminal, "5) 自己设定", "5) my own").send("5", ENTER)
        look(terminal, "5) 自己输入", "5) type a number").send(ENTER)
        look(terminal, "数据多时", "for many data").send(ENTER)
        look(terminal, "一共练几轮", "How many epochs")
    path = GOLDEN / f"questions.{language}.{columns}.txt"
    shown = "\n".join(seen)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")
    assert all(len(line) <= columns for line in shown.split("\n"))
