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
from train_to_ollama import guarded
from wizard import words
from wizard.command_line import parse
from wizard.commands import command
from wizard.screen.screen import Screen
from wizard.steps.base_model import DEFAULT_BASE_MODEL
from wizard.stop import Stop
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
    # the user's own Python, as in tests/wizard/test_commands.py
    told = shown.stdout.replace(command(), "python train_to_ollama.py")
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(told, encoding="utf-8")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert told == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("flag", [flag.option[2:] for flag in FLAGS])
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


def test_the_version_is_the_one_that_records_are_written_with(tmp_path: Path) -> None:
    begun = {"plan": TrainPlan().to_json(), "request": {}, "base": {"source": "a/base"}, "strategy": None}
    written = History(tmp_path).begin("zzhua", **begun).record["program"]
    shown = entry("--ollama_name", "zzhua", "--version")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, f"Train to Ollama {written}\n", "")


@pytest.mark.parametrize("columns", ["50", "60", "100", "1000"])
def test_help_fits_the_terminal(columns: str) -> None:
    from wizard.screen.layout import cells

    shown = entry("--help", COLUMNS=columns).stdout
    commands = [line for line in shown.splitlines() if f"{command()} " in line]
    assert all(cells(line) <= int(columns) for line in shown.splitlines() if line not in commands)


@pytest.mark.parametrize(
    ("arguments", "may_load"),
    [
        (["train_to_ollama.py", "--help"], set()),
        (["train_to_ollama.py", "--version"], set()),
        (["-m", "wizard.home"], {"dataclasses"}),
        (["train_to_ollama.py", "--history"], {"rich", "requests", "urllib3", "dataclasses", "argparse"}),
    ],
    ids=["help", "version", "front page", "history"],
)
def test_what_answers_at_once_loads_no_heavy_package(arguments: list[str], may_load: set[str], tmp_path: Path) -> None:
    begun = {"plan": TrainPlan().to_json(), "request": {}, "base": {"source": "a/base"}, "strategy": None}
    History(tmp_path).begin("zzhua", **begun)
    barred = {*HEAVY, "requests", "dataclasses", "argparse", "questionary", "prompt_toolkit", "urllib3", "filelock"}
    environment = {"TRAIN_TO_OLLAMA_HOME": str(tmp_path), "OLLAMA_HOST": "127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=ROOT,
        env={**os.environ, **PLAIN, **environment},
        input="0\n",
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert {"--help", "--version"} & {*arguments} or "zzhua" in done.stdout
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "wizard" in loaded
    assert loaded & barred <= may_load


@pytest.mark.posix
def test_the_first_question_stands_before_anything_that_draws_or_trains_is_loaded(tmp_path: Path) -> None:
    from tests.support.terminal import CTRL_C, Terminal

    told = tmp_path / "loaded.txt"
    start = (
        "import os, sys; os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), 2);"
        "os.execv(sys.executable, [sys.executable, '-X', 'importtime', *sys.argv[2:]])"
    )
    environment = {"TRAIN_TO_OLLAMA_HOME": str(tmp_path / "runs"), "TRAIN_TO_OLLAMA_LANG": "en"}
    program = ["-c", start, str(told), "train_to_ollama.py", "--no_register"]
    with Terminal(program, environment=environment) as terminal:
        terminal.wait_for("Which dialogues").wait_for("elsewhere")
        lines = told.read_text(encoding="utf-8").splitlines()
        terminal.send(CTRL_C)
        assert terminal.finish() == 3
    loaded = {line.rpartition("|")[2].strip() for line in lines}
    # a library that draws menus or tables takes longer than all else
    barred = {*HEAVY, "prompt_toolkit", "asyncio", "requests", "urllib3", "ssl", "filelock", "pipeline.job"}
    assert "wizard.steps.data" in loaded and "dataclasses" in loaded
    assert loaded & barred == set()


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


def test_a_stop_that_a_library_made_an_error_of_its_own_is_one_all_the_same() -> None:
    def work() -> dict[str, Any]:
        raise RuntimeError("interrupted")

    assert guarded(work, Screen(quiet=True), stopped=lambda: True)["exit_code"] == 130
    assert guarded(work, Screen(quiet=True), stopped=lambda: False)["exit_code"] == 1


@pytest.mark.posix("POSIX signals")
def test_a_signal_is_heard_while_nobody_can_take_it(tmp_path: Path) -> None:
    """As in a call of some library that comes back only when it is done."""
    code = """
import ctypes, pathlib, sys, threading, time
from wizard.stop import Stop
stop = Stop()
stop.training = lambda: True
stop.listen()
stop.attend()
assert not stop.was_heard()
heard, gate = [], pathlib.Path(sys.argv[1])
def watch():
    while not stop.was_heard():
        time.sleep(0.01)
    heard.append(stop())
    gate.touch()
watching = threading.Thread(target=watch)
watching.start()
command = f"kill -TERM $PPID; until test -e '{gate}'; do sleep 0.01; done"
ctypes.CDLL(None).system(command.encode())
watching.join()
assert heard == [False] and stop() and stop.was_heard()
"""
    command = [sys.executable, "-c", code, str(tmp_path / "gate")]
    subprocess.run(command, cwd=ROOT, check=True)


def test_success_is_what_the_work_returned() -> None:
    assert guarded(lambda: {"name": "zzhua"}, Screen(quiet=True)) == {"ok": True, "exit_code": 0, "name": "zzhua"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_a_training_the_first_signal_asks_and_the_second_aborts(number: signal.Signals) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    screen = Screen(quiet=True)
    elsewhere, stop = Stop(), Stop()
    stop.training = lambda: screen.training
    try:
        elsewhere.listen()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert elsewhere()
        stop.listen()
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
        terminal.wait_for("error.decision_needed", unless="（Esc 返回）")
        assert terminal.finish() == 2


@pytest.mark.parametrize("how", ["key", "signal"])
def test_the_program_that_asks_is_cancelled_by_a_key_or_a_signal(how: str, tmp_path: Path) -> None:
    environment = {"TRAIN_TO_OLLAMA_HOME": str(tmp_path), "OLLAMA_HOST": "127.0.0.1:9"}
    with Terminal(["train_to_ollama.py"], environment=environment) as terminal:
        terminal.wait_for("train_to_ollama").wait_for("没有 Ollama，怎么办")
        if how == "key":
            terminal.send(CTRL_C)
        else:
            os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.finish() == 3
        assert "已取消，什么都没有改动" in terminal.screen
    # what was found out about the machine is kept for the next time
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] in ([], ["this-machine.json"])
