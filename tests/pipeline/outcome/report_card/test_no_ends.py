"""A model that was taught answers without their ends goes on and on; its card says so, and what mends it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.program import SECONDS, Program


def test_a_model_that_was_taught_no_ends_does_not_stop_and_is_to_be_begun_anew(tmp_path: Path) -> None:
    program = Program(tmp_path)
    flags = ("--epochs", "20", "--learning_rate", "5e-3", "--temperature", "0.1", "--no_register", "--compare", "--yes")
    changed = ["-m", "tests.support.watchers", "tests.support.no_ends ."]
    done = subprocess.run(
        [sys.executable, *changed, *program.command(*flags)[2:]],
        env=program.environment,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = program.newest
    assert run is not None
    card = run.record["card"]
    assert card["verdict"] == "does_not_stop" and card["next_step"]["key"] == "from_base"
    assert "endless" in [line["key"] for line in card["lines"] if line["mark"] == "warning"]
    assert card["facts"]["stopped"] < card["facts"]["stopped_before"]
    assert "it doesn't stop" in done.stdout and "--force --epochs 5" in done.stdout
