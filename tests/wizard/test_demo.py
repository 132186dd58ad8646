"""The demo, from the embedded base model to the answers side by side."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import ROOT
from wizard import demo
from wizard.command_line import parse


def test_the_demo_trains_by_flags_that_anybody_could_type() -> None:
    python, entry, *flags = demo.train_command(demo.embedded_base_model(), register=False)
    assert Path(python) == Path(sys.executable)
    assert Path(entry).samefile(ROOT / "train_to_ollama.py")
    request = parse(flags)
    assert request.data_dir == demo.DATA
    assert request.no_register
    assert (request.base_model, request.yes, request.on_exists) == (str(demo.embedded_base_model()), True, "overwrite")
    assert (request.epochs, request.learning_rate) == (2.0, 1e-3)
    assert not parse(demo.train_command(Path("base.gguf"), register=True)[2:]).no_register


def test_further_flags_go_to_the_training_and_its_exit_code_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--lang", "en", "--epochs", "two"]) == 2
    assert "--epochs wants a number, not “two”" in capfd.readouterr().out


def test_the_demo_runs_to_the_answers_and_names_the_command_that_registers(tmp_path: Path) -> None:
    """With a tenth of an epoch: how well the persona is learned is seen in the whole demo."""
    nobody = {"OLLAMA_HOST": "ollama.invalid:9"}  # on 127.0.0.1 an installed Ollama would be started
    env = {**os.environ, **nobody, "TRAIN_TO_OLLAMA_HOME": str(tmp_path), "TRAIN_TO_OLLAMA_LANG": "en"}
    done = subprocess.run(
        [sys.executable, "-m", "wizard.demo", "--epochs", "0.1"],
        cwd=ROOT,
        env={**env, "COLUMNS": "160"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for question in (ROOT / "data" / "demo" / "questions.txt").read_text(encoding="utf-8").splitlines():
        assert question.split()[0] in done.stdout
    assert 'Answers with "Arrr": 0/10 before' in done.stdout
    # the installation before it may take as many
    lines = done.stdout.splitlines()
    assert next(at for at, line in enumerate(lines) if line.startswith("🎬")) <= 15
    record = json.loads((tmp_path / demo.NAME / "1" / "run.json").read_text(encoding="utf-8"))
    assert (record["status"], record["plan"]["epochs"]) == ("done", 0.1)
    command = shlex.split(done.stdout.rstrip().splitlines()[-1])
    assert parse(command[2:]).register_only
