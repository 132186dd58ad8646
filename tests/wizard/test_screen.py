"""What the program shows, on a terminal and without one."""

from __future__ import annotations

import io
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.errors import OllamaError, UsageError
from lora_trainer.events import Check, Evaluated, Progress, StepDone, TrainingStarted
from tests.support.screen_show import incremental_plan, summary, tell_a_run
from tests.support.terminal import ENTER, ROOT, Terminal
from wizard import words
from wizard.commands import command
from wizard.screen.layout import cells, paragraphs, wrap
from wizard.screen.screen import BLOCKS, Screen
from wizard.screen.training import LINE_SECONDS, TrainingView, amount, duration, sparkline

GOLDEN = Path(__file__).resolve().parent / "golden"


@pytest.fixture(autouse=True)
def chinese(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("COLUMNS", "80")
    words.use_language("zh")
    yield
    words.use_language("zh")


@dataclass(frozen=True)
class Found:
    kind: str
    file: str
    line: int
    key: str
    values: dict[str, Any] = field(default_factory=dict)
    unit: str = "line"


def started(total: int = 60) -> TrainingStarted:
    return TrainingStarted(total, 0, 15, 60, 88, 12_345, "cpu", "float32", 4_400_000)


def step(number: int, total: int = 60, loss: float = 1.0) -> StepDone:
    return StepDone(number, total, number / 15, loss, 2e-4, 512.3, total - number)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_plan_is_the_golden_one(language: str, capsys: pytest.CaptureFixture[str]) -> None:
    words.use_language(language)
    Screen().plan(incremental_plan())
    shown = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines()) + "\n"
    path = GOLDEN / f"plan.{language}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")


def test_the_plan_names_each_numbers_source_and_the_three_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().plan(incremental_plan())
    shown = capsys.readouterr().out
    assert "原始训练 2.0 轮 / 增量训练 +1.5 轮 / 最终训练 3.5 轮" in shown
    assert "3.5 轮，52 步，13 min  建议的，60 条建议 3～4 轮" in shown
    assert "学习率 2e-4，rank 8  其余和上次一样" in shown
    assert "从第 3 次的存档接着练，只要算 1.94 轮" in shown


def test_a_log_gets_whole_lines_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    tell_a_run(Screen())
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\r" not in shown
    training = [line for line in shown.splitlines() if line.startswith("·") and "/60 步" in line]
    assert 10 <= len(training) <= 21
    assert all("训练损失" in line and "每秒 512 个词元" in line and "占内存 2.9 GB" in line for line in training)
    assert all("还要约" in line and "练完" in line for line in training[:-1])
    assert "✓ 训练 zzhua：完成，用时 7 分 12 秒" in shown
    assert "ollama run zzhua" in shown.splitlines()[-7] and "--chat" in shown.splitlines()[-5]


def test_a_run_for_another_program_is_told_in_its_stages_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    """The demo shows by itself what is decided and what came of it."""
    tell_a_run(Screen(brief=True))
    lines = capsys.readouterr().out.splitlines()
    assert [line[0] for line in lines] == list("!✓···✓✓✓")
    assert lines[1].startswith("✓ 检查") and "1 项" in lines[1]
    assert all("/60 步" in line for line in lines[2:5])
    tell_a_run(Screen(brief=True, details=True))
    assert "开始之前" in capsys.readouterr().out


def test_a_long_run_is_told_in_few_lines_but_never_silent_for_long() -> None:
    view = TrainingView(started(100_000))
    lines = 0
    for number in range(1, 100_001, 10):
        view.step(step(number, 100_000))
        lines += view.line_due(now=number * 0.36)
    assert 20 <= lines <= 100_000 * 0.36 / LINE_SECONDS + 21


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (100, 30), (40, 24)])
def test_a_terminal_shows_progress_in_place_and_is_tidy_afterwards(language: str, columns: int, rows: int) -> None:
    with Terminal(["-m", "tests.support.screen_show", language], columns=columns, rows=rows) as terminal:
        assert terminal.finish() == 0
        shown = terminal.everything
    assert "zzhua:backup-20261124-1" in re.sub(r"\s", "", shown)
    # One line for the whole training: everything else happened in place.
    assert shown.count("60/60") == 1
    assert not re.search(r"\b(?!60)\d+/60\b", shown)
    assert "train_to_ollama.py --ollama_name zzhua --rollback" in shown.replace("\n", "")


def test_lines_and_the_moving_part_leave_nothing_of_each_other_behind() -> None:
    # Drawn as often as can be, by threads that take turns all the time, in heights that change.
    code = """
import sys
from lora_trainer.events import Check, Progress
from wizard.screen import moving, screen
sys.setswitchinterval(1e-6)
moving.REFRESH_SECONDS = 0
shown = screen.Screen()
first, second, third = (Progress("export", done, 3) for done in (1, 2, 3))
for _ in range(300):
    for event in (Check("disk", "running"), first, second, Check("disk", "ok"), third):
        shown.listen(event)
"""
    with Terminal(["-c", code], columns=60) as terminal:
        assert terminal.finish() == 0
        lines = terminal.everything.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["✓ 磁盘空间", "✓ 写入 GGUF"] * 300


def test_a_running_training_shows_its_numbers_and_curve() -> None:
    with Terminal(["-m", "tests.support.screen_show", "zh", "--wait"]) as terminal:
        for part in ("正在算第 51 步", "50/60 步", "第 3.3 / 4.0 轮", "还要约", "每秒 512 个词元", "占内存 2.9 GB"):
            terminal.wait_for(part)
        assert re.search(r"训练损失 +2\.92 █[▁-█]+ 0\.15 +在降", terminal.screen)
        assert re.search(r"验证损失 +3\.20 █▂▁▃ +2\.00 +从第 2\.0 轮起回升\n +角色数据常见", terminal.screen)
        assert re.search(r"▶ 训练 zzhua +\d\d:\d\d 开始，大约 \d\d:\d\d 练完", terminal.screen)
        # the seconds tick and the spinner turns while nothing is told
        terminal.wait_for(" 3 秒")
        assert terminal.send(ENTER).finish() == 0


def test_the_stop_that_was_asked_for_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    stops: list[bool] = []
    screen = Screen(stopping=lambda: bool(stops))
    screen.listen(started())
    screen.listen(step(1))
    assert "正在停下" not in capsys.readouterr().out
    stops.append(True)
    screen.listen(step(2))
    screen.listen(step(3))
    assert capsys.readouterr().out.count("正在停下") == 1


def test_only_a_training_ends_by_itself() -> None:
    screen = Screen(quiet=True)
    assert not screen.training
    screen.listen(started())
    assert screen.training
    screen.settle()
    assert not screen.training


@pytest.mark.parametrize("encoding", ["gbk", "ascii", "cp437"])
def test_a_console_that_lacks_characters_shows_what_it_can(encoding: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from tests.support.screen_show import *; from wizard.screen import output\n"
            "output.never_fail_on_characters(); tell_a_run(Screen())",
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": encoding, "LANG": "zh_CN.UTF-8", "TRAIN_TO_OLLAMA_LANG": "zh"},
        capture_output=True,
        check=False,
    )
    assert done.stderr == b""
    shown = done.stdout.decode(encoding)
    assert "ollama run zzhua" in shown
    assert re.search(r"^[+✓] ", shown, re.MULTILINE)
    if encoding == "gbk":
        assert "训练损失" in shown


def test_everything_but_json_goes_to_stderr_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    tell_a_run(Screen(to_stderr=True))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "zzhua" in captured.err


def test_a_quiet_screen_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    tell_a_run(Screen(quiet=True))
    assert capsys.readouterr() == ("", "")


def test_twenty_findings_are_shown_and_all_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    faults = [Found("fault", "train.jsonl", line, "ask.empty") for line in range(1, 26)]
    notes = [Found("note", "val.jsonl", 0, "ask.empty")]
    Screen().findings([*notes, *faults])
    shown = capsys.readouterr().out
    assert "25 处问题" in shown
    assert "train.jsonl:20 " in shown
    assert "train.jsonl:21 " not in shown
    assert "还有 5 处问题" in shown
    assert shown.index("train.jsonl") < shown.index("val.jsonl  ")


def test_a_row_of_a_file_without_lines_is_told_as_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().findings([Found("fault", "train.parquet", 7, "ask.empty", unit="row")])
    assert "train.parquet 第 7 条  " in capsys.readouterr().out


def test_a_check_shows_its_state_and_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    for state in ("running", "ok", "skipped", "warning", "failed"):
        screen.listen(Check("name", state, "note.few_dialogues", {"dialogues": 3}))  # type: ignore[arg-type]
    lines = capsys.readouterr().out.splitlines()
    assert [line[0] for line in lines] == ["✓", "-", "!", "✗"]
    assert all("只有 3 条对话" in line for line in lines)


def test_an_error_says_what_why_and_what_next(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().error(UsageError("error.flag.contradiction", first="--force", second="--continue_train"))
    assert capsys.readouterr().out == "\n✗ --force 和 --continue_train 不能同时使用，意思互相矛盾。\n请去掉其中一个。\n"


def test_values_with_brackets_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().error(OllamaError("error.bug", kind="[bold]x[/bold]", reason=":smile: {y}"))
    assert "[bold]x[/bold]：:smile: {y}" in capsys.readouterr().out


def test_an_unregistered_model_gets_the_one_command_that_registers_it(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().summary(summary(registered=False))
    shown = capsys.readouterr().out
    assert f"  {command('--ollama_name', 'zzhua', '--register_only')}\n" in shown
    assert "  ollama create zzhua -f " in shown


@pytest.mark.parametrize(
    ("done", "total", "said"),
    [(300, 0, "1 KB"), (0, 1_200_000_000, "0 / 1.2 GB"), (5_000_000, 10_000_000, "5 MB / 10 MB")],
)
def test_sizes_are_never_no_kilobytes(done: int, total: int, said: str) -> None:
    assert amount("upload", done, total) == said


def test_a_task_without_a_terminal_is_told_once_when_it_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    for done in range(0, 101, 10):
        screen.listen(Progress("export", done << 20, 100 << 20))
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_validation_loss_that_rises_is_told_without_alarm_and_since_when() -> None:
    view = TrainingView(started())
    view.step(step(30))
    view.evaluated(Evaluated(15, 1.0, 1.5, True))
    assert "验证损失 1.500" in view.line() and "角色数据常见" not in "".join(view.remarks())
    view.evaluated(Evaluated(30, 2.0, 1.7, False))
    assert "验证损失 1.700（从第 1.0 轮起回升）" in view.line()
    assert "角色数据常见" in "".join(view.remarks())


def test_a_sparkline_keeps_its_width_and_survives_what_is_no_number() -> None:
    assert sparkline([3, 2, 1], 10, BLOCKS) == "█▅▁"
    assert len(sparkline([float(x) for x in range(1000)], 40, BLOCKS)) == 40
    assert sparkline([1.0, 1.0], 10, BLOCKS) == "▁▁"
    assert sparkline([math.nan, math.inf], 10, BLOCKS) == ""
    assert sparkline([1.0, math.nan, 2.0], 10, BLOCKS) == "▁█"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 秒"), (59.6, "1 分 0 秒"), (200, "3 分 20 秒"), (3723, "1 小时 2 分"), (math.inf, "?")],
)
def test_durations_are_said_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_amounts_are_sizes_and_where_questions_are_asked_counts() -> None:
    assert amount("prove", 3, 290) == "3 / 290"
    assert amount("prove", 2, 2) == "2 / 2"
    assert amount("export", 0, 506_000_000) == "0 / 506 MB"
    assert amount("unload", 0, 0) == ""
    assert amount("export", 142_560, 142_560) == "143 KB"
    assert amount("download", 1_200_000_000, 0) == "1.2 GB"


def test_lines_break_between_chinese_characters_and_never_before_punctuation() -> None:
    lines = wrap("一次改了三个参数，建议一次只改一个。Use epochs first", 12)
    assert all(cells(line) <= 12 for line in lines)
    assert "".join(lines).replace(" ", "") == "一次改了三个参数，建议一次只改一个。Useepochsfirst"
    assert all(line.strip()[0] not in "，。" for line in lines)


def test_a_command_is_never_broken() -> None:
    command = "  python train_to_ollama.py --ollama_name zzhua --continue_train --add_epochs 1.5"
    assert paragraphs(f"不够满意：\n{command}", 20)[-1] == command


def test_json_is_one_line_in_any_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    from wizard.screen import output

    for encoding, held in (("utf-8", "林栀".encode()), ("gbk", b"\\u6797\\u6800")):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
        output.write_json({"ok": True, "path": Path("x"), "name": "林栀"})
        sys.stdout.flush()
        assert held in raw.getvalue()
        assert raw.getvalue().count(b"\n") == 1
