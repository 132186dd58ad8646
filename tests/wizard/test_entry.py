"""The command line: flags, `--help`, exit codes, the error boundary and the JSON object."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.errors import (
    BaseModelError,
    Cancelled,
    ConversionError,
    DataError,
    DecisionNeeded,
    Interrupted,
    OllamaError,
    ResourceError,
    UsageError,
)
from lora_trainer.events import TrainingStarted
from lora_trainer.plan import TrainPlan
from pipeline.flags import FLAGS
from pipeline.run.history import History
from pipeline.serving import DEFAULT_QUANTIZE
from tests.support.terminal import CTRL_C, ROOT, Terminal
from tests.test_imports import HEAVY
from train_to_ollama import Stop, guarded
from wizard import words
from wizard.command_line import parse
from wizard.flow import DEFAULT_BASE_MODEL
from wizard.screen.screen import Screen
from wizard.words import rate_text, t

GOLDEN = Path(__file__).resolve().parent / "golden"
PLAIN = {"LANG": "zh_CN.UTF-8", "LC_ALL": "", "LC_MESSAGES": "", "TRAIN_TO_OLLAMA_LANG": "", "COLUMNS": "80"}


@pytest.fixture(autouse=True)
def chinese() -> Iterator[None]:
    words.use_language("zh")
    yield
    words.use_language("zh")


def entry(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "train_to_ollama.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **PLAIN, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("language", ["zh", "en"])
def test_help_is_the_golden_one(language: str) -> None:
    shown = entry("--help", TRAIN_TO_OLLAMA_LANG=language)
    path = GOLDEN / f"help.{language}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(shown.stdout, encoding="utf-8")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("flag", [flag.name for flag in FLAGS])
def test_help_shows_every_flag_once(flag: str) -> None:
    shown = (GOLDEN / "help.en.txt").read_text(encoding="utf-8")
    assert len(re.findall(rf"^  --{flag}\b", shown, re.MULTILINE)) == 1
    assert f"--{flag.replace('_', '-')} " not in shown or "_" not in flag


@pytest.mark.parametrize("language", ["zh", "en"])
def test_help_names_the_defaults_of_the_plan(language: str) -> None:
    words.use_language(language)
    plan = TrainPlan()
    for name in ("epochs", "lora_rank", "lora_dropout", "max_length", "seed"):
        assert re.search(rf"(default|默认) {getattr(plan, name):g}(\.0)?(?![\d.])", t(f"help.{name}")), name
    assert re.search(rf"(default|默认) {rate_text(plan.learning_rate)}\b", t("help.learning_rate"))
    assert re.search(rf"(default|默认) {DEFAULT_QUANTIZE}\b", t("help.quantize"))
    assert re.search(rf"(default|默认) {plan.scheduler}\b", t("help.scheduler"))
    assert re.search(rf"(default|默认) {re.escape(DEFAULT_BASE_MODEL)}\b", t("help.base_model"))


def test_the_language_flag_goes_before_the_locale_also_for_help() -> None:
    assert entry("--lang", "en", "--help").stdout.startswith("Usage:")
    assert entry("--help", "--lang=zh", LANG="en_US.UTF-8").stdout.startswith("用法：")
    assert entry("-h", LANG="en_US.UTF-8").stdout.startswith("Usage:")


@pytest.mark.parametrize("columns", ["50", "60", "100", "1000"])
def test_help_fits_the_terminal(columns: str) -> None:
    from wizard.screen.layout import cells

    shown = entry("--help", COLUMNS=columns).stdout
    commands = [line for line in shown.splitlines() if line.startswith("  python ")]
    assert all(cells(line) <= int(columns) for line in shown.splitlines() if line not in commands)


@pytest.mark.parametrize(
    ("arguments", "may_load"),
    [
        (["train_to_ollama.py", "--help"], set()),
        # rich says that there is no Ollama
        (["-m", "wizard.status", "--names"], {"rich", "requests", "dataclasses"}),
        (["train_to_ollama.py", "--history"], {"rich", "requests", "dataclasses", "argparse"}),
    ],
    ids=["help", "names for the menu", "history"],
)
def test_what_answers_at_once_loads_no_heavy_package(arguments: list[str], may_load: set[str], tmp_path: Path) -> None:
    begun = {"plan": TrainPlan().to_json(), "request": {}, "base": {"source": "a/base"}, "strategy": None}
    History(tmp_path).begin("zzhua", **begun)
    environment = {"TRAIN_TO_OLLAMA_HOME": str(tmp_path), "OLLAMA_HOST": "127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=ROOT,
        env={**os.environ, **PLAIN, **environment},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert "--help" in arguments or "zzhua" in done.stdout
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "wizard" in loaded
    assert loaded & {*HEAVY, "requests", "dataclasses", "argparse"} <= may_load


def test_flags_fill_the_request_with_underscores_or_hyphens() -> None:
    request = parse(["--ollama-name", "zzhua", "--lora_rank=16", "--skip-bad-rows", "--learning_rate", "1e-4"])
    assert (request.ollama_name, request.lora_rank, request.skip_bad_rows) == ("zzhua", 16, True)
    assert request.learning_rate == 1e-4
    assert parse(["--data_dir", "a b/数据"]).data_dir == Path("a b/数据")


def test_names_of_gguf_types_are_taken_in_any_case() -> None:
    assert parse(["--quantize", "Q4_k_m"]).quantize == "q4_K_M"


@pytest.mark.parametrize(
    ("arguments", "key", "values"),
    [
        (["--epoch", "3"], "error.flag.misspelt", {"flag": "--epoch", "proposal": "--epochs"}),
        (["--lora-rnak=3"], "error.flag.misspelt", {"flag": "--lora_rnak", "proposal": "--lora_rank"}),
        (["zzhua"], "error.flag.unknown", {"flag": "zzhua"}),
        (["--epochs"], "error.flag.value_missing", {"flag": "--epochs"}),
        (["--yes=1"], "error.flag.no_value", {"flag": "--yes"}),
        (["--epochs", "two"], "error.flag.not_float", {"flag": "--epochs", "value": "two"}),
        (["--lora_rank", "8.5"], "error.flag.not_int", {"flag": "--lora_rank", "value": "8.5"}),
        (["--ollama_name", " "], "error.flag.empty", {"flag": "--ollama_name"}),
        (["--lang", "fr"], "error.flag.choice", {"flag": "--lang", "value": "fr", "choices": "zh, en"}),
        (["--epochs", "-1"], "error.plan.range", {"name": "epochs", "value": -1.0, "low": 0.01, "high": 1000}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_a_usage_error(arguments: list[str], key: str, values: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        parse(arguments)
    assert (refused.value.key, refused.value.values) == (key, values)


def test_a_usage_error_is_said_and_exits_with_two() -> None:
    done = entry("--epochs", "two")
    assert done.returncode == 2
    assert "✗ --epochs 要的是数字，不能是「two」。" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_json_is_one_object_on_stdout_also_when_it_failed() -> None:
    done = entry("--json", "--force", "--continue_train")
    assert done.returncode == 2
    result = json.loads(done.stdout)
    assert (result["ok"], result["exit_code"], result["error"]["key"]) == (False, 2, "error.flag.contradiction")
    assert "--force 和 --continue_train" in result["error"]["message"]
    assert "--force 和 --continue_train" in done.stderr


def test_without_a_terminal_a_missing_name_is_a_usage_error_that_names_the_flag(tmp_path: Path) -> None:
    done = entry("--json", TRAIN_TO_OLLAMA_HOME=str(tmp_path), OLLAMA_HOST="127.0.0.1:9")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["key"] == "error.decision_needed"
    assert "--ollama_name" in json.loads(done.stdout)["error"]["message"]


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        f'"{sys.executable}" train_to_ollama.py --help | head -1',
        shell=True,
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("failure", "code", "key"),
    [
        (UsageError("error.flag.empty", flag="--system"), 2, "error.flag.empty"),
        (DecisionNeeded("error.decision_needed", flag="--yes"), 2, "error.decision_needed"),
        (Cancelled("error.cancelled"), 3, "error.cancelled"),
        (DataError("error.data.empty", file="train.jsonl"), 4, "error.data.empty"),
        (OllamaError("error.ollama.not_ollama", host="x"), 5, "error.ollama.not_ollama"),
        (BaseModelError("error.base_model.no_config", path="x"), 6, "error.base_model.no_config"),
        (ResourceError("error.resource.disk_full", path="x"), 7, "error.resource.disk_full"),
        (OSError(errno.ENOSPC, "No space left on device"), 7, "error.disk.full_somewhere"),
        (ConversionError("error.export.memory"), 8, "error.export.memory"),
        (Interrupted("error.interrupted"), 130, "error.interrupted"),
        (KeyboardInterrupt(), 130, "error.interrupted"),
        (ZeroDivisionError("by zero"), 1, "error.bug"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 7, "error.disk.full_somewhere"),
        (OSError(errno.EROFS, "Read-only file system", "/x"), 7, "error.disk.barred"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 7, "error.disk.barred"),
        # what the network bars has no file name
        (PermissionError(errno.EACCES, "Permission denied"), 1, "error.bug"),
        (MemoryError(), 7, "error.memory.ran_out"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 7, "error.memory.ran_out"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_failure_becomes_a_message_and_an_exit_code(
    failure: BaseException, code: int, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> dict[str, Any]:
        raise failure

    result = guarded(work, Screen())
    assert (result["ok"], result["exit_code"], result["error"]["key"]) == (False, code, key)
    shown = capsys.readouterr().out
    assert result["error"]["message"].splitlines()[0] in shown
    assert "Traceback" not in shown


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    result = guarded(lambda: {"never": 1 // 0}, Screen(), debug=True)
    assert result["exit_code"] == 1
    shown = capsys.readouterr().out
    assert "Traceback" in shown
    assert "ZeroDivisionError" in shown


def test_success_is_what_the_work_returned() -> None:
    assert guarded(lambda: {"name": "zzhua"}, Screen(quiet=True)) == {"ok": True, "exit_code": 0, "name": "zzhua"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_a_training_the_first_signal_asks_and_the_second_aborts(number: signal.Signals) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    screen, stop = Screen(quiet=True), Stop()
    stop.training = lambda: screen.training
    try:
        stop.listen()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        screen.listen(TrainingStarted(60, 0, 15, 60, 88, 12_345, "cpu", "float32", 4_400_000))
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_with_json_nothing_is_asked_at_a_terminal_either(tmp_path: Path) -> None:
    environment = {"TRAIN_TO_OLLAMA_HOME": str(tmp_path), "OLLAMA_HOST": "127.0.0.1:9"}
    with Terminal(["train_to_ollama.py", "--json"], environment=environment) as terminal:
        terminal.wait_for("error.decision_needed", unless="给模型起个名字")
        assert terminal.finish() == 2


@pytest.mark.parametrize("how", ["key", "signal"])
def test_the_program_that_asks_is_cancelled_by_a_key_or_a_signal(how: str, tmp_path: Path) -> None:
    environment = {"TRAIN_TO_OLLAMA_HOME": str(tmp_path), "OLLAMA_HOST": "127.0.0.1:9"}
    with Terminal(["train_to_ollama.py"], environment=environment) as terminal:
        terminal.wait_for("train_to_ollama").wait_for("给模型起个名字")
        if how == "key":
            terminal.send(CTRL_C)
        else:
            os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.finish() == 3
        assert "已取消，什么都没有改动" in terminal.screen
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
