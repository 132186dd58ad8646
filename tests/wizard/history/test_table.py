"""The table of runs, two runs side by side and a run's details: golden at 80 and 60 columns, never too wide."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.outcome.card import Card, Line, NextStep
from pipeline.outcome.past import past_of
from pipeline.run.history import History, Run
from tests.support.past_runs import NAME, keep_rows, record_run, record_runs
from wizard import words
from wizard.history.details import details
from wizard.history.lines import command_lines, labelled
from wizard.history.side_by_side import side_by_side
from wizard.history.table import PLAIN_SIGNS, Signs, table
from wizard.screen.layout import cells
from wizard.screen.screen import BLOCKS

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
SIZES = pytest.mark.parametrize("width", [80, 60])
LANGUAGES = pytest.mark.parametrize("language", words.LANGUAGES)


@pytest.fixture(autouse=True)
def chinese_afterwards() -> Iterator[None]:
    words.use_language("zh")
    yield
    words.use_language("zh")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    runs = record_runs(tmp_path_factory.mktemp("runs"))
    keep_rows(runs[1], ["v"], ["a", "b"])
    keep_rows(runs[2], ["w"], ["b", "c", "d"])
    return runs


def golden(name: str, lines: list[str]) -> None:
    shown = "\n".join(lines) + "\n"
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")


@LANGUAGES
@SIZES
def test_the_table_is_the_golden_one(runs: list[Run], language: str, width: int) -> None:
    words.use_language(language)
    lines = table(NAME, past_of(runs, 3), width, Signs(), NOW).lines
    assert max(map(cells, lines)) <= width
    golden(f"history.{language}.{width}.txt", lines)


@LANGUAGES
@SIZES
def test_two_runs_side_by_side_are_the_golden_ones(runs: list[Run], language: str, width: int) -> None:
    words.use_language(language)
    pasts = past_of(runs, 3)
    lines = side_by_side((runs[1], runs[2]), (pasts[1], pasts[2]), runs, width, Signs(), BLOCKS)
    assert max(map(cells, lines)) <= width
    golden(f"side_by_side.{language}.{width}.txt", lines)


@LANGUAGES
@pytest.mark.parametrize("width", [80, 60, 40])
def test_the_details_hold_everything_and_no_line_is_too_wide(runs: list[Run], language: str, width: int) -> None:
    words.use_language(language)
    for run, past in zip(runs, past_of(runs, 3), strict=True):
        lines = details(run, past, ["linzhi:backup-20261126-1"], width, Signs(), BLOCKS)
        assert max(map(cells, lines)) <= width


def test_the_details_of_a_declined_run_tell_its_points_losses_and_last_answers(runs: list[Run]) -> None:
    shown = "\n".join(details(runs[3], past_of(runs, 3)[3], [], 80, Signs(), BLOCKS))
    for part in (
        "没采用，增量 +3，从第 3 次继续",
        "备注         背答案，话也太多了，下次少练一点",
        "6.5 轮",
        "学习率 1e-4，rank 16，alpha 32",
        "87 条（107 个回答），另有 14 条验证",
        "验证损失     3.18 █▁▇ 3.02",
        "第 1.0 轮最低，2.38",
        "通用文字     3.48 → 3.52",
        "第 1.0 轮，验证损失 2.38，通用文字 3.40",
        "第 6.5 轮，验证损失 3.02",
        "在、在的[31m……",
        "备份      无",
        "--learning_rate 1e-4 --lora_rank 16",
    ):
        assert part in shown, part
    assert "\x1b" not in shown


def test_the_details_tell_what_changed_in_the_data_the_habits_and_both_answers(runs: list[Run]) -> None:
    shown = "\n".join(details(runs[2], past_of(runs, 3)[2], None, 80, Signs(), BLOCKS))
    for part in ("★ 现在 Ollama 里的", "比上一次新增 25 条，删掉 2 条", "像           9/10", "≠ 和上一次不能直接比",
                 "第 2 次   （捏着衣角）我叫林栀。", "第 3 次   （从书架后面", "Ollama 没有应答"):  # fmt: skip
        assert part in shown, part


def test_the_details_tell_the_report_card_where_this_version_can_read_it(tmp_path: Path) -> None:
    lines = (Line("stops", "good", {"stopped": 9, "of": 10}),)
    judged = Card("learned", lines, NextStep("use"), {}).to_record()
    unknown = {**judged, "lines": [{"key": "unheard_of", "mark": "good"}]}
    for card, told in ((judged, True), (unknown, False)):
        run = record_run(tmp_path, "2026-11-20T11:30:00+00:00", 2.0, card=card)
        shown = "\n".join(details(run, past_of([run], None)[0], [], 80, Signs(), BLOCKS))
        assert ("学会了" in shown and "9/10" in shown and "放进 Ollama，和它聊几句" in shown) is told


def test_a_run_that_began_with_anothers_adapter_is_not_promised_a_command(tmp_path: Path) -> None:
    run = record_run(tmp_path, "2026-11-20T11:30:00+00:00", 2.0, warm_start=1)
    shown = "\n".join(details(run, past_of([run], None)[0], [], 80, Signs(), BLOCKS))
    assert "--warm_start" in shown and "train_to_ollama.py" not in shown


def test_a_terminal_without_the_signs_gets_plain_ones(runs: list[Run]) -> None:
    words.use_language("en")
    pasts = past_of(runs, 3)
    lines = table(NAME, pasts, 80, PLAIN_SIGNS, NOW).lines
    lines += side_by_side((runs[0], runs[4]), (pasts[0], pasts[4]), runs, 80, PLAIN_SIGNS, "_.-=+*#@")
    text = "\n".join(lines).replace("自然", "").replace("背答案，话也太…", "").replace("你是林栀。", "")
    assert any(line.startswith("* ") for line in lines) and "~2.41" in text
    assert not set(text) & set("★≠◆─📋🆚▁█")


def test_marks_of_what_is_chosen_stand_before_the_star(runs: list[Run]) -> None:
    rows = table(NAME, past_of(runs, 3), 80, Signs(), NOW, chosen=[2, 3]).rows
    assert [row[0] for row in rows] == [" ", "◆", "◆", " ", " "]


def test_another_years_runs_have_their_year(runs: list[Run]) -> None:
    rows = table(NAME, past_of(runs, 3), 80, Signs(), NOW.replace(year=2027)).rows
    assert all(" 2026-11-2" in row and ":" not in row for row in rows)


@pytest.mark.parametrize("width", [40, 60, 80, 100])
@LANGUAGES
def test_long_names_and_large_numbers_fit(tmp_path: Path, width: int, language: str) -> None:
    words.use_language(language)
    name, created = "a-rather-long-name-of-a-character", "2026-11-24T08:00:00+00:00"
    given = {"rows": 123_456, "plan": {"learning_rate": 1.5e-4, "lora_rank": 1024}, "seconds": 400_000.0}
    run = record_run(tmp_path, created, 112.25, name=name, note="长" * 200, vals=[(0, 3.0), (9, 12.345)], **given)
    lines = table(name, past_of([run], 1), width, Signs(), NOW).lines
    assert max(map(cells, lines)) <= width
    assert "112.25" in lines[2] and "12.3" in lines[2]


@pytest.mark.posix("a shell of POSIX")
def test_a_command_in_several_lines_is_one_command() -> None:
    words = ["python", "train_to_ollama.py", "--system", "You are  a parrot, it's 「鹦鹉」。" * 5, "--epochs", "3.5"]
    lines = command_lines(shlex.join(words), 40)
    assert len(lines) > 5 and max(map(cells, lines)) <= 40
    said = subprocess.run(["sh", "-c", "printf '%s\\n' " + "\n".join(lines)], capture_output=True, encoding="utf-8")
    assert said.stdout.splitlines() == words


def test_a_row_goes_on_below_its_text() -> None:
    assert labelled([("数据", "一二三四五六七八九十"), ("", "下")], 20) == [
        "  数据      一二三四",
        "            五六七八",
        "            九十",
        "            下",
    ]


def test_old_records_have_a_row(tmp_path: Path) -> None:
    from lora_trainer.plan import TrainPlan

    begun = {"plan": TrainPlan().to_json(), "request": {}, "base": {"source": "a/base"}, "strategy": None}
    run = History(tmp_path).begin("zzhua", **begun)
    (past,) = past_of([run], None)
    assert "没练完 0%" in table("zzhua", [past], 80, Signs(), NOW).rows[0]
    shown = "\n".join(details(run, past, None, 80, Signs(), BLOCKS))
    assert "a/base" in shown and "进行中" in shown
