"""What is shown while the program works: what moves, what the curves say, and what the keyboard does meanwhile."""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lora_trainer.events import (
    Check,
    Doing,
    Evaluated,
    Event,
    Sampled,
    Saving,
    StageStarted,
    StepBegun,
    StepDone,
    TrainingStarted,
)
from tests.support.terminal import CTRL_C, ENTER, Terminal
from wizard import words
from wizard.screen.curves import has_not_fallen, trend, trend_of_validation
from wizard.screen.ending import Ending, clock
from wizard.screen.layout import cells, flow
from wizard.screen.screen import Screen
from wizard.screen.training import TrainingView, questions_with_room

STARTED = TrainingStarted(60, 0, 15, 60, 88, 12_345, "x86_64, 2 threads", "float32", 4_400_000, val_dialogues=14)
posix = pytest.mark.posix("a pseudo-terminal of POSIX")


@pytest.fixture(autouse=True)
def chinese(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("COLUMNS", "80")
    words.use_language("zh")
    yield
    words.use_language("zh")


def step(number: int, loss: float, rate: float = 2e-4, left: float = 60.0) -> StepDone:
    return StepDone(number, 60, number / 15, loss, rate, 512.3, left)


def noisy(count: int, fall: float, seed: int) -> list[float]:
    """Losses about 2 that change by `fall` over the whole, each a tenth off or so."""
    dice = random.Random(seed)
    return [2.0 + fall * at / count + dice.gauss(0, 0.2) for at in range(count)]


# --- the words


def test_a_word_for_the_training_loss_is_not_up_to_the_rows_of_the_last_step() -> None:
    seeds = range(200)
    flat = [trend(noisy(60, 0.0, seed)) for seed in seeds]
    # two standard errors: one in twenty, here with room for chance
    assert flat.count("flat") >= 175 and flat.count("falling") < 20 and flat.count("rising") < 20
    assert [trend(noisy(60, -2.0, seed)) for seed in seeds].count("falling") >= 195
    assert [trend(noisy(60, 2.0, seed)) for seed in seeds].count("rising") >= 195


def test_a_word_comes_when_there_is_something_to_say_it_of() -> None:
    assert trend([3.0, 2.0, 1.0, 0.5, 0.2]) is None and trend([]) is None
    assert trend([3.0, 2.5, 2.0, 1.5, 1.0, 0.5]) == "falling"
    # falling without any noise, but by nothing that anybody would notice
    assert trend([1.0 - 1e-5 * at for at in range(50)]) == "flat"
    # it is about now: what fell at first and then rose is rising
    assert trend([*(3 - at / 50 for at in range(50)), *(2 + at / 50 for at in range(50))]) == "rising"
    assert trend([math.nan] * 20) is None


def test_the_validation_loss_is_held_against_its_lowest() -> None:
    assert trend_of_validation([3.0]) is None
    assert trend_of_validation([3.0, 2.0]) == "falling"
    assert trend_of_validation([3.0, 2.0, 2.01]) == trend_of_validation([3.0, 2.0, 1.99]) == "flat"
    assert trend_of_validation([3.0, 2.0, 2.1]) == "rising"
    assert trend_of_validation([3.0, math.nan]) is None


def test_a_loss_that_does_not_fall_is_told_with_what_to_do_and_only_then() -> None:
    stuck, learning, learnt = noisy(30, 0.0, 1), noisy(30, -1.0, 1), [0.3] * 30
    assert has_not_fallen(stuck) and not has_not_fallen(stuck[:19])
    assert not has_not_fallen(learning) and not has_not_fallen(learnt)
    for rate, said in ((5e-4, "学习率太高（现在 5e-4）"), (1e-5, "学习率可能太低（现在 1e-5）")):
        view = TrainingView(STARTED)
        for number, loss in enumerate(stuck, 1):
            view.step(step(number, loss, rate))
        assert said in "".join(view.remarks())
    # what goes on from where little is left to learn
    view = TrainingView(replace(STARTED, start_step=30, losses=tuple(stuck)))
    assert view.remarks() == []


def test_without_validation_rows_it_says_so_and_what_can_be_told() -> None:
    (said,) = TrainingView(replace(STARTED, val_dialogues=0)).remarks()
    assert "没有验证数据" in said and "练完多问几句没教过的" in said


def test_curves_go_on_over_an_interruption() -> None:
    view = TrainingView(replace(STARTED, start_step=2, losses=(3.0, 2.9), val_losses=((0.0, 3.1),)))
    view.step(step(3, 2.8))
    view.evaluated(Evaluated(3, 0.2, 2.7, best=True))
    (_, losses, _), (_, val_losses, _) = view.curves()
    assert (losses, val_losses) == ([3.0, 2.9, 2.8], [3.1, 2.7])


def test_devices_are_named_as_people_say_and_more_only_where_a_fault_is_looked_for() -> None:
    assert TrainingView(STARTED).pace() == ["用处理器练"]
    card = replace(STARTED, device_kind="cuda", device="RTX 3060")
    assert TrainingView(card).pace() == ["用显卡练（RTX 3060）"]
    assert "float32" in "".join(TrainingView(STARTED, details=True).pace())


# --- the end


def test_the_end_stays_where_it_is_while_steps_are_of_unequal_length() -> None:
    ending, dice, shown = Ending(), random.Random(1), set()
    for number in range(100):
        ending.estimate(36.0 * number, (100 - number) * 36.0 * dice.uniform(0.93, 1.07))
        shown.add(ending.shown)
    assert len(shown) <= 5 and all(abs(end - 3600) < 300 for end in shown if end is not None)


def test_an_end_that_is_really_another_one_is_shown() -> None:
    ending = Ending()
    ending.estimate(0.0, 600.0)
    for number in range(1, 30):
        ending.estimate(10.0 * number, 3000.0)
    assert ending.shown is not None and ending.shown > 2900


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(20, "还要不到 1 分钟"), (100, "还要约 2 分"), (1140, "还要约 19 分"), (5400, "还要约 1 小时 30 分")],
)
def test_what_is_left_is_said_as_coarsely_as_it_is_known(seconds: float, said: str) -> None:
    ending = Ending()
    assert ending.left(0.0) == ""
    ending.estimate(1000.0, seconds)
    assert ending.left(1000.0) == said


def test_times_of_day_are_the_users_and_another_day_has_its_date() -> None:
    at = time.mktime((2026, 11, 25, 21, 6, 0, 0, 0, -1))
    assert clock(at, at) == "21:06"
    assert clock(at + 5 * 3600, at) == "11-26 02:06"


def test_parts_flow_into_lines_that_fit() -> None:
    parts = ["第 1.0 / 3.5 轮", "已用 7 分 12 秒", "还要约 19 分", "正在算第 22 步 ⠹ 9 秒"]
    assert len(flow(parts, 79)) == 1 and cells(flow(parts, 79)[0]) <= 79
    assert len(flow(parts, 59)) == 2 and all(cells(line) <= 59 for line in flow(parts, 59))


# --- on a terminal


SHOW = """
import pathlib, sys, time
from lora_trainer.events import *
from wizard.screen.screen import Screen
from wizard.stop import Stop
stop = Stop()
screen = Screen(stopping=stop.was_heard, attend=stop.attend)
stop.training = lambda: screen.training
stop.listen()
def wait():
    while not stop() and not pathlib.Path(sys.argv[1]).exists():
        time.sleep(0.01)
"""


def show(code: str, gate: Path, **size: int) -> Terminal:
    return Terminal(["-c", SHOW + code, str(gate)], environment={"TRAIN_TO_OLLAMA_LANG": "zh"}, **size)


@posix
@pytest.mark.parametrize("columns", [80, 60])
def test_something_moves_while_nothing_is_told(tmp_path: Path, columns: int) -> None:
    code = """
screen.listen(StageStarted("preflight", "linzhi"))
screen.listen(Check("memory", "running"))
wait()
screen.listen(Check("memory", "ok"))
screen.listen(Check("disk", "skipped", "check.rehearsed"))
screen.listen(StageDone("preflight", 12.3))
screen.settle()
"""
    with show(code, tmp_path / "gate", columns=columns) as terminal:
        terminal.wait_for("▶ 检查 linzhi").wait_for("检查：内存").wait_for("Ctrl-C：停下")
        terminal.wait_for("1 秒").wait_for("2 秒")
        (tmp_path / "gate").touch()
        assert terminal.finish() == 0
        assert terminal.everything.splitlines() == ["✓ 检查 1 项都通过，12 秒（细节：--debug）"]


@posix
def test_what_is_typed_meanwhile_is_not_shown_and_answers_nothing(tmp_path: Path) -> None:
    code = """
screen.listen(Doing("model"))
wait()
screen.settle()
print("asked", flush=True)
print("got", input())
"""
    with show(code, tmp_path / "gate") as terminal:
        terminal.wait_for("载入基座模型").send("early", ENTER).wait_for("1 秒")
        assert "early" not in terminal.everything
        (tmp_path / "gate").touch()
        terminal.wait_for("asked").send("late", ENTER).wait_for("got late")
        assert terminal.finish() == 0 and "early" not in terminal.everything


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP])
def test_the_terminal_is_left_as_it_was_by_whatever_ends_the_program(tmp_path: Path, number: int) -> None:
    with show('screen.listen(Doing("model"))\nwait()\n', tmp_path / "gate") as terminal:
        terminal.wait_for("载入基座模型").wait_for("1 秒")
        assert not terminal.echoes
        os.kill(terminal.pid, number)
        terminal.finish()
        assert terminal.echoes


@posix
def test_the_terminal_is_left_as_it_was_while_the_program_is_suspended(tmp_path: Path) -> None:
    program = 'screen.listen(Doing("model"))\nwait()\nscreen.settle()\n'
    (tmp_path / "program.py").write_text(SHOW + program, encoding="utf-8")
    gate, python = tmp_path / "gate", sys.executable
    script = (
        f"set -m; {python} {tmp_path}/program.py {gate}; echo; echo suspended; stty -a | grep -wo -e '-*echo'; "
        "read line; fg; echo; echo over; stty -a | grep -wo -e '-*echo'"
    )
    with Terminal(
        ["-c", "import os, sys; os.execvp('bash', ['bash', '-c', sys.argv[1]])", script],
        environment={"TRAIN_TO_OLLAMA_LANG": "zh"},
    ) as terminal:
        terminal.wait_for("载入基座模型").wait_for("1 秒").send("\x1a")
        terminal.wait_for("suspended\necho").send(ENTER).wait_for("载入基座模型").wait_for("秒")
        assert not terminal.echoes
        gate.touch()
        terminal.wait_for("over\necho")
        terminal.finish()


@posix
def test_control_c_is_acknowledged_while_a_step_is_being_computed(tmp_path: Path) -> None:
    code = """
import ctypes, threading
screen.listen(StageStarted("train", "linzhi"))
screen.listen(TrainingStarted(77, 0, 22, 87, 110, 9000, "x86_64", "float32", 4400000, val_dialogues=14))
screen.listen(StepBegun(1))
# a call that no signal interrupts, as of a library that computes
import signal
signal.siginterrupt(signal.SIGINT, False)
import os
ready, go = os.pipe()
def end():
    while not pathlib.Path(sys.argv[1]).exists():
        time.sleep(0.01)
    os.write(go, b"x")
threading.Thread(target=end).start()
ctypes.CDLL(None).read(ready, ctypes.create_string_buffer(1), 1)
assert stop()
screen.settle()
"""
    with show(code, tmp_path / "gate") as terminal:
        terminal.wait_for("正在算第 1 步").wait_for("1 秒").send(CTRL_C)
        terminal.wait_for("正在停下，存档")
        assert "^C" not in terminal.everything
        (tmp_path / "gate").touch()
        assert terminal.finish() == 0


@posix
def test_a_dumb_terminal_gets_plain_lines() -> None:
    arguments = ["-m", "tests.support.screen_show", "zh"]
    with Terminal(arguments, environment={"TERM": "dumb"}, rows=200, columns=200) as terminal:
        assert terminal.finish() == 0
        lines = terminal.everything.splitlines()
    assert 10 <= sum(line.startswith("· ") and "/60 步" in line for line in lines) <= 21


def told(*events: Event, **how: bool) -> None:
    screen = Screen(**how)
    for event in events:
        screen.listen(event)


def test_in_a_log_every_check_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    told(StageStarted("preflight", "linzhi"), Check("memory", "running"), Check("memory", "ok"))
    assert "✓ 内存" in capsys.readouterr().out


def test_a_log_hears_of_a_stop_before_the_step_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(stopping=lambda: True)
    for event in (StageStarted("train", "linzhi"), STARTED, StepBegun(1), Saving(1)):
        screen.listen(event)
    screen.settle()
    assert capsys.readouterr().out.count("正在停下，存档") == 1


@posix
def test_a_task_of_a_stage_has_no_line_of_its_own_beside_the_stages(tmp_path: Path) -> None:
    code = """
screen.listen(StageStarted("export", "linzhi"))
screen.listen(Progress("export", 1, 2000000))
wait()
screen.listen(Progress("export", 2000000, 2000000))
screen.listen(StageDone("export", 3.0))
screen.settle()
"""
    with show(code, tmp_path / "gate") as terminal:
        terminal.wait_for("▶ 导出 GGUF linzhi").wait_for("写入 GGUF").wait_for("/ 2 MB")
        (tmp_path / "gate").touch()
        assert terminal.finish() == 0
        assert terminal.everything.splitlines() == ["✓ 导出 GGUF：完成，用时 3 秒"]


def test_the_words_of_the_moving_part_are_never_wider_than_the_terminal() -> None:
    for language in words.LANGUAGES:
        words.use_language(language)
        for width in (80, 60, 40):
            view = TrainingView(replace(STARTED, val_dialogues=0, total_steps=12345), "a-rather-long-name")
            for number in range(1, 40):
                view.step(replace(step(number, 12.0, left=7 * 3600.0), total_steps=12345, memory=12_900_000_000))
            view.evaluated(Evaluated(15, 1.0, 1.5, True))
            view.evaluated(Evaluated(30, 2.0, 1.7, False))
            view.sampled(Sampled(30, 2.0, "Hello, please introduce yourself " * 4, "x" * 300, stopped=False))
            view.sampled(Sampled(30, 2.0, "你好，请介绍一下自己", "（低头理了理围裙）我、我叫林栀……" * 9, stopped=True))
            assert all(cells(line) <= width for line in lines_of(view, width)), (language, width)


ASKED = "你好，请介绍一下自己"
SAID = "（低头理了理围裙）我、我叫林栀……在老街的旧书店上班。"


@pytest.mark.parametrize("width", [80, 60])
def test_the_last_answer_to_each_question_is_seen_in_two_lines_at_most(width: int) -> None:
    words.use_language("zh")
    view = TrainingView(STARTED)
    view.sampled(Sampled(8, 0.5, ASKED, "您好！我是一个语言模型", stopped=False))
    view.sampled(Sampled(15, 1.0, ASKED, SAID, stopped=True))
    view.sampled(Sampled(15, 1.0, "在干嘛？", "看书。" * 60, stopped=True))
    lines = lines_of(view, width)
    first = next(place for place, line in enumerate(lines) if ASKED in line)
    assert lines[first].startswith(f"  问  {ASKED}") and lines[first].rstrip().endswith("（第 1.0 轮）")
    assert lines[first + 1].rstrip() == f"  答  {SAID}" and "语言模型" not in "".join(lines)
    assert lines[first + 2].startswith("  问  在干嘛？") and lines[first + 3].startswith("  答  看书。")
    # what doesn't fit into the second line is left out
    assert lines[first + 4].startswith("      ") and lines[first + 4].rstrip().endswith("看书。…")
    assert "看书" not in "".join(lines[first + 5 :])


def test_an_answer_may_hold_anything_and_one_that_was_broken_off_shows_it() -> None:
    view = TrainingView(STARTED)
    view.sampled(Sampled(15, 1.0, ASKED, "\x1b[2J一\n\n二\t[red]三", stopped=False))
    text = "\n".join(lines_of(view, 80))
    assert "\x1b" not in text and "答  [2J一 二 [red]三…" in text
    assert view.said(view.samples[ASKED]).endswith("答：[2J一 二 [red]三…")


def test_answers_of_before_an_interruption_are_seen_at_once() -> None:
    before = Sampled(15, 1.0, ASKED, SAID, stopped=True)
    view = TrainingView(replace(STARTED, start_step=15, samples=(replace(before, answer="嗯"), before)))
    assert any(SAID in line for line in lines_of(view, 80))


def test_a_rising_validation_loss_points_to_the_answers_where_there_are_any() -> None:
    view = TrainingView(STARTED)
    view.evaluated(Evaluated(15, 1.0, 1.5, True))
    view.evaluated(Evaluated(30, 2.0, 1.7, False))
    assert "练完和它聊聊" in "".join(view.remarks())
    view.sampled(Sampled(30, 2.0, ASKED, SAID, stopped=True))
    assert "多看上面的回答" in "".join(view.remarks())


def test_in_a_log_an_answer_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    words.use_language("zh")
    told(StageStarted("train", "linzhi"), STARTED, Doing("sample"), Sampled(15, 1.0, ASKED, SAID, stopped=True))
    assert f"第 1.0 轮　问：{ASKED}　答：{SAID}" in capsys.readouterr().out


def test_two_questions_are_asked_where_both_answers_can_be_seen() -> None:
    assert [questions_with_room(lines) for lines in (24, 29, 30, 50)] == [1, 1, 2, 2]


def lines_of(view: TrainingView, width: int) -> list[str]:
    from io import StringIO

    from rich.console import Console

    console = Console(file=StringIO(), width=width, color_system=None)
    lines = console.render_lines(view.picture(width, "▁▂▃▄▅▆▇█", "⠋", "▶"), pad=False)
    return ["".join(segment.text for segment in line) for line in lines]
