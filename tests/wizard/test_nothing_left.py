"""What changes nothing leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import ROOT
from tests.support.terminal import CTRL_C, Terminal


def environment(folder: Path) -> dict[str, str]:
    return {"TRAIN_TO_OLLAMA_HOME": str(folder / "runs"), "OLLAMA_HOST": "127.0.0.1:9", "LANG": "C.UTF-8"}


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (("--yes", "--data_dir", "nowhere"), 4),
        (("--dry_run", "--yes", "--base_model", "./nowhere"), 6),
        (("--history",), 0),
        (("--verify",), 2),
        (("--rollback",), 5),
        (("--register_only",), 2),
        (("--resume",), 2),
        (("--continue_train",), 5),
        (("--on_exists", "cancel", "--no_register", "--data_dir", "nowhere"), 4),
    ],
    ids=str,
)
def test_a_name_that_nothing_came_of_has_no_folder(flags: tuple[str, ...], code: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "train_to_ollama.py", "--ollama_name", "nosuch", *flags],
        cwd=ROOT,
        env={**os.environ, **environment(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_cancelled_questions_leave_no_folder(tmp_path: Path) -> None:
    with Terminal(["train_to_ollama.py", "--ollama_name", "nosuch"], environment=environment(tmp_path)) as terminal:
        terminal.wait_for("?")
        assert terminal.send(CTRL_C).finish() == 3
    assert list(tmp_path.iterdir()) == []
