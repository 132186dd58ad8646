"""A menu on a real terminal, key by key: where they lead, what stays behind, and how it fits."""

from __future__ import annotations

import pytest

from tests.support.terminal import CTRL_C, DOWN, ENTER, ESCAPE, Terminal
from wizard.screen.layout import cells

pytestmark = pytest.mark.posix
UP, HOME, END = "\x1b[A", "\x1b[H", "\x1b[F"
ASK = """
import sys
from lora_trainer.errors import Cancelled
from wizard import prompts
from wizard.words import use_language
use_language("en")
count, default, times = map(int, sys.argv[1:4])
rows = [prompts.Row(n, f"名字 {n}   words about it", n == 2, name=f"名字 {n}") for n in range(1, count + 1)]
for _ in range(times):
    try:
        print("chosen", prompts.select("Which of them is it to be?", rows, flag="--x", default=default or None))
    except prompts.Back:
        print("back")
    except Cancelled:
        print("cancelled")
"""
RENEWED = """
import time
from wizard import prompts
began = time.monotonic()
renewed = False
def renew():
    global renewed
    if renewed or time.monotonic() < began + 1:
        return None
    renewed = True
    return [prompts.Row(1, "one   about 5 minutes"), prompts.Row(2, "two   about 9 minutes")]
rows = [prompts.Row(1, "one"), prompts.Row(2, "two")]
print("chosen", prompts.select("Which?", rows, flag="--x", renew=renew))
"""


def menu(count: int = 5, default: int = 0, times: int = 1, **how: object) -> Terminal:
    """A menu of rows, of which the second one can't be chosen."""
    terminal = Terminal(["-c", ASK, str(count), str(default), str(times)], **how)  # type: ignore[arg-type]
    return terminal.wait_for("1) 名字 1").settled()


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [
        ([], 1),
        ([DOWN], 3),  # past the one that can't be chosen
        (["j", "j", "k"], 3),
        ([UP], 5),
        ([END, UP, HOME, "\x1bOB"], 3),
        (["\x1b[B\x1b[B\x1b[A"], 3),
        (["2"], 3),  # the second of those that can be chosen
        (["４"], 5),
        (["9", "x", "\x1b[5~", "\x1b[200~2\r3\r\x1b[201~", "é"], 1),  # no row's, and what is pasted
    ],
    ids=str,
)
def test_keys_lead_to_rows_and_enter_chooses(keys: list[str], chosen: int) -> None:
    with menu() as terminal:
        terminal.send(*keys, ENTER).wait_for(f"chosen {chosen}")
        assert terminal.screen.split("\n")[0] == f"? Which of them is it to be? 名字 {chosen}"
        assert terminal.finish() == 0


def test_the_pointer_stands_on_the_default_and_what_can_not_be_chosen_has_no_key() -> None:
    with menu(default=4) as terminal:
        rows = terminal.screen.split("\n")[1:]
        marks = [row[:6] for row in rows]
        assert marks == ["   1) ", "   -  ", "   2) ", " » 3) ", "   4) "] and "名字 4   words" in rows[3]
        terminal.send(ENTER).wait_for("chosen 4")
    with menu(default=2) as terminal:
        terminal.send(ENTER).wait_for("chosen 1")


def test_escape_takes_the_menu_away_and_control_c_leaves_the_question() -> None:
    with menu(times=2) as terminal:
        terminal.send(ESCAPE).wait_for("back").settled()
        assert "名字" not in terminal.screen.partition("back")[0]
        assert not terminal.echoes
        terminal.send(CTRL_C).wait_for("cancelled")
        assert terminal.screen.split("\n")[1:] == ["? Which of them is it to be?", "cancelled"]
        assert terminal.finish() == 0


def test_a_key_right_behind_escape_is_the_next_questions() -> None:
    with menu(times=3) as terminal:
        terminal.send("\x1b\x1b" + "3" + ENTER).wait_for("chosen 4")
        assert terminal.screen.split("\n").count("back") == 2


def test_the_terminal_is_as_it_was_afterwards() -> None:
    watch = (
        "import termios\nbefore = termios.tcgetattr(0)\n" + ASK + "print('as before', termios.tcgetattr(0) == before)"
    )
    for key in (ENTER, ESCAPE, CTRL_C):
        with Terminal(["-c", watch, "3", "0", "1"]) as terminal:
            terminal.wait_for("Which of them").settled().send(key).wait_for("as before True")


def test_keys_that_are_typed_ahead_answer_the_next_question() -> None:
    with menu(times=3) as terminal:
        terminal.send("3" + ENTER + "2" + ENTER + "1" + ENTER)
        for number in (4, 3, 1):
            terminal.wait_for(f"chosen {number}", unless="cancelled")
        assert terminal.finish() == 0


def test_a_menu_that_is_higher_than_the_window_shows_what_is_around_the_pointer() -> None:
    with menu(count=30, rows=8) as terminal:
        assert "名字 1 " in terminal.screen and "名字 7 " not in terminal.screen
        terminal.send(*[DOWN] * 12).settled()
        shown = terminal.screen.split("\n")
        assert shown[0].startswith("? Which") and len(shown) <= 8 and any("» c) 名字 14" in line for line in shown)
        terminal.send(ENTER).wait_for("chosen 14")
        assert "名字 13" not in terminal.everything


def test_a_menu_is_drawn_anew_where_the_window_changes_its_size() -> None:
    with menu() as terminal:
        terminal.resize(24, 24).wait_for("…").settled()
        lines = terminal.screen.split("\n")
        assert sum("名字 1 " in line for line in lines) == 1 and all(cells(line) <= 24 for line in lines)
        terminal.resize(80, 24).settled().settled()
        terminal.send("2", ENTER).wait_for("chosen 3")
        assert sum("?" in line for line in terminal.screen.split("\n")) <= 2


@pytest.mark.parametrize("columns", [80, 60, 36])
def test_the_answered_line_has_the_rows_name_and_breaks_nowhere(columns: int) -> None:
    with menu(columns=columns) as terminal:
        assert all(len(line) <= columns for line in terminal.screen.split("\n"))
        terminal.send(ENTER).wait_for("chosen 1")
        text = " ".join(" ".join(terminal.screen.split("\n")).split())
        assert text == "? Which of them is it to be? 名字 1 chosen 1"


def test_rows_can_come_to_say_more_while_they_stand() -> None:
    with Terminal(["-c", RENEWED]) as terminal:
        terminal.wait_for("2) two").send("2").wait_for("» 2) two   about 9 minutes").settled()
        assert terminal.screen.count("Which?") == 1 and "1) one   about 5 minutes" in terminal.screen
        terminal.send(ENTER).wait_for("chosen 2")


def test_a_terminal_that_can_not_move_its_cursor_is_asked_too() -> None:
    with menu(environment={"TERM": "dumb"}) as terminal:
        terminal.wait_for("1) 名字 1").send("2", ENTER).wait_for("chosen 3")
        assert terminal.finish() == 0
