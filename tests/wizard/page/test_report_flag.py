"""`--report` by the real command line, the page at the end of a run, and the browser that shows it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.run.history import History
from tests.ollama_server.server import OllamaServer
from tests.support.program import Program
from tests.support.project import ROOT
from tests.support.terminal import Terminal
from tests.test_imports import HEAVY
from tests.wizard.page import records
from wizard.page import browser
from wizard.page.report import NAME


def told(history: History, *flags: str, language: str = "en") -> dict[str, Any]:
    """What the program tells with --json; the exit code is in it."""
    environment = {"TRAIN_TO_OLLAMA_HOME": str(history.home), "OLLAMA_HOST": "127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "train_to_ollama.py"), "--report", "--json", *flags],
        env={**os.environ, **environment, "TRAIN_TO_OLLAMA_LANG": language},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["exit_code"] == done.returncode, done.stderr
    return {**found, "shown": done.stderr}


def test_the_page_of_any_run_is_made_again_in_the_language_of_the_moment(tmp_path: Path) -> None:
    history, run = records.full(tmp_path)
    newest = told(history, "--ollama_name", "linzhi")
    assert (newest["exit_code"], newest["run"], newest["report"]) == (0, 3, str(run.folder / NAME))
    assert newest["report"] in newest["shown"]
    assert '<html lang="en">' in (run.folder / NAME).read_text(encoding="utf-8")
    for number in (1, 3):
        again = told(history, "--ollama_name", "linzhi", "--run", str(number), language="zh")
        assert again["run"] == number and '<html lang="zh-CN">' in Path(again["report"]).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("flags", "key"),
    [
        (("--ollama_name", "linzhi", "--run", "9"), "error.no_such_run"),
        (("--ollama_name", "nobody"), "error.nothing_to_report"),
        (("--ollama_name", "linzhi", "--dry_run"), "error.flag.contradiction"),
        (("--ollama_name", "linzhi", "--verify"), "error.flag.contradiction"),
        (("--ollama_name", "linzhi", "--history"), "error.flag.contradiction"),
        (("--ollama_name", "linzhi", "--register_only"), "error.flag.contradiction"),
        ((), "error.decision_needed"),
    ],
    ids=str,
)
def test_what_has_no_page_ends_with_two_and_leaves_nothing(tmp_path: Path, flags: tuple[str, ...], key: str) -> None:
    history, _ = records.full(tmp_path)
    files = sorted(tmp_path.rglob("*"))
    found = told(history, *flags)
    assert (found["exit_code"], found["error"]["key"]) == (2, key)
    assert sorted(tmp_path.rglob("*")) == files


def test_a_page_is_made_while_somebody_works_on_the_model(tmp_path: Path) -> None:
    history, _ = records.full(tmp_path)
    with history.lock("linzhi"):
        assert told(history, "--ollama_name", "linzhi")["ok"]


def test_a_page_needs_none_of_the_heavy_packages(tmp_path: Path) -> None:
    history, _ = records.full(tmp_path)
    code = (
        "import sys; from pathlib import Path; from pipeline.run.history import History\n"
        "from wizard.page.report import write_report\n"
        f"history = History(Path({str(history.home)!r}))\n"
        "write_report(history, history.runs('linzhi')[-1])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "[]"


def test_every_run_ends_with_its_page_and_so_does_every_rung_of_a_ladder(tmp_path: Path) -> None:
    program = Program(tmp_path)
    shown = program.run("--no_register", "--ladder", "0.5,1")["shown"]
    runs = program.history.runs("zzhua")
    pages = [run.folder / NAME for run in runs]
    assert len(pages) == 2 and all(page.is_file() for page in pages)
    published = next(run for run in runs if run.has_done("export"))
    # the table may break a path anywhere
    assert "".join(str(published.folder / NAME).split()) in "".join(shown.split())
    assert "--rows_of_run" in pages[0].read_text(encoding="utf-8")


@pytest.mark.posix("a pseudo-terminal of POSIX")
def test_the_page_is_never_opened_from_afar_and_named_on_the_terminal(
    tmp_path: Path, ollama_server: OllamaServer
) -> None:
    history, run = records.full(tmp_path)
    opener = tmp_path / "opener"
    opener.write_text(f'#!/bin/sh\necho "$1" >> "{tmp_path}/opened"\n', encoding="utf-8")
    opener.chmod(0o755)
    environment = {"TRAIN_TO_OLLAMA_HOME": str(history.home), "OLLAMA_HOST": ollama_server.url, "COLUMNS": "200"}
    desk = {"DISPLAY": ":9", "BROWSER": f"{opener} %s", "SSH_CONNECTION": "", "SSH_TTY": "", "SSH_CLIENT": ""}
    command = ["train_to_ollama.py", "--report", "--ollama_name", "linzhi"]
    for more, opened in (({"SSH_CONNECTION": "1.2.3.4"}, 0), ({"DISPLAY": "", "WAYLAND_DISPLAY": ""}, 0), ({}, 1)):
        with Terminal(command, environment={**environment, **desk, **more}) as terminal:
            assert terminal.finish() == 0
            assert NAME in terminal.everything.replace("\n", "")
        seen = tmp_path / "opened"
        assert (seen.read_text(encoding="utf-8").split() if seen.exists() else []) == [
            (run.folder / NAME).resolve().as_uri()
        ] * opened


@pytest.mark.parametrize(
    ("environment", "platform", "opens"),
    [
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({}, "linux", False),
        ({}, "darwin", True),
        ({}, "win32", True),
        ({"SSH_TTY": "/dev/pts/1"}, "darwin", False),
        ({"DISPLAY": "localhost:10.0", "SSH_CLIENT": "1.2.3.4 5 6"}, "linux", False),
    ],
    ids=str,
)
def test_a_browser_is_opened_at_a_desk_only(
    environment: dict[str, str], platform: str, opens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert browser.can_open(environment, platform) is opens
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert not browser.can_open(environment, platform)
