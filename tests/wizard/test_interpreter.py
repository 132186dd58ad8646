"""The entry finds the Python that has its packages, and says so in a sentence where there is none."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import ROOT
from wizard import interpreter
from wizard.interpreter import lacking, wait_for

ROOMS = ("file_formats", "lora_trainer", "ollama_export", "data_desk", "pipeline", "wizard")
BARE = [sys.executable, "-S"]
"""A Python without any package."""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """The program without an environment, in a folder with a blank and Chinese."""
    house = tmp_path / "我的 模型"
    house.mkdir()
    for room in ROOMS:
        shutil.copytree(ROOT / room, house / room, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("train_to_ollama.py", "pyproject.toml", "quick_start.sh"):
        shutil.copy(ROOT / file, house)
    return house


def furnish(house: Path, line: str, *place: str) -> Path:
    """A `.venv` whose Python is a line of shell, with the calls noted."""
    python = house.joinpath(".venv", *(place or ("bin", "python")))
    python.parent.mkdir(parents=True)
    noting = f'printf "%s|" "$@" >>"{house.parent}/calls"; echo >>"{house.parent}/calls"'
    python.write_text(f"#!/bin/sh\n{noting}\n{line}\n", encoding="utf-8")
    python.chmod(0o755)
    return python


def calls(house: Path) -> list[list[str]]:
    path = house.parent / "calls"
    return [line.split("|")[1:-1] for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def start(house: Path, *arguments: str, python: list[str] = BARE, **more: str) -> subprocess.CompletedProcess[str]:
    names = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")
    plain = {name: os.environ[name] for name in names if name in os.environ} | {"LANG": "C.UTF-8"}
    home = {"TRAIN_TO_OLLAMA_HOME": str(house.parent / "runs"), "OLLAMA_HOST": "127.0.0.1:9"}
    return subprocess.run(
        [*python, "train_to_ollama.py", *arguments],
        cwd=house,
        env={**plain, **home, **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_the_version_needs_no_package(house: Path) -> None:
    done = start(house, "--version")
    (written,) = re.findall(r'^version = "(.+)"$', (house / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"Train to Ollama {written}\n", "")


ASKED = ("--ollama_name", "zzhua", "--continue_train", "--system", "两个 词 $HOME")


def test_the_guides_own_command_goes_on_in_the_environment_beside_the_program(house: Path) -> None:
    furnish(house, f'exec "{sys.executable}" "$@"')
    done = start(house, *ASKED)
    assert done.returncode == 5  # no Ollama: what the program itself finds
    assert "OLLAMA_HOST" in done.stdout and "Traceback" not in done.stdout + done.stderr
    assert calls(house) == [list(ASKED)]


def test_an_environment_that_is_named_is_used(house: Path, tmp_path: Path) -> None:
    named = tmp_path / "named"
    named.write_text(f'#!/bin/sh\necho named\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    named.chmod(0o755)
    assert start(house, "--history", TRAIN_TO_OLLAMA_PYTHON=str(named)).stdout.startswith("named\n")


def test_a_python_that_has_everything_stays(house: Path) -> None:
    furnish(house, "exit 9")
    assert start(house, "--history", python=[sys.executable]).returncode == 0
    assert calls(house) == []


def test_help_needs_no_packages(house: Path) -> None:
    assert start(house, "--help").stdout.startswith("用法：")


def test_commands_are_told_with_the_users_own_python_also_behind_the_environment(house: Path) -> None:
    furnish(house, f'exec "{sys.executable}" -c "from wizard.commands import command; print(command())"')
    python = house.parent / "py"
    python.symlink_to(sys.executable)
    done = start(house, "--history", python=["../py", "-S"])
    assert done.stdout == "../py train_to_ollama.py\n"


@pytest.mark.parametrize("language", ["zh", "en"])
def test_without_an_environment_one_line_says_what_makes_it(house: Path, language: str) -> None:
    done = start(house, *ASKED, TRAIN_TO_OLLAMA_LANG=language)
    assert (done.returncode, done.stderr) == (2, "")
    assert "torch" in done.stdout and done.stdout.endswith("\n  ./quick_start.sh setup\n")
    elsewhere = subprocess.run(
        [*BARE, house / "train_to_ollama.py"], cwd=house.parent, capture_output=True, encoding="utf-8", check=False
    )
    assert elsewhere.stdout.splitlines()[-1] == f"  '{house.name}/quick_start.sh' setup"
    assert sorted(path.name for path in house.parent.iterdir()) == [house.name]


def test_with_json_it_is_the_json_object(house: Path) -> None:
    done = start(house, "--json", "--lang", "en")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"], told["exit_code"], told["error"]["key"]) == (
        2,
        False,
        2,
        "error.packages.missing",
    )
    assert told["error"]["message"] in done.stderr


@pytest.mark.parametrize(
    ("line", "code"), [(f'exec "{sys.executable}" -S "$@"', 2), ("exit 7", 7)], ids=["lacks them too", "is another"]
)
def test_an_environment_is_gone_into_once(house: Path, line: str, code: int) -> None:
    furnish(house, line)
    assert start(house, "--history").returncode == code
    assert calls(house) == [["--history"]]


def test_a_broken_environment_is_told_as_none(house: Path) -> None:
    furnish(house, "").write_bytes(b"\x7fELF no program")
    done = start(house, "--history")
    assert (done.returncode, "./quick_start.sh setup" in done.stdout) == (2, True)


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "ACCELERATE_MIXED_PRECISION"])
def test_a_process_of_a_launcher_never_changes_its_python(house: Path, variable: str) -> None:
    furnish(house, "exit 0")
    done = start(house, "--history", **{variable: "0"})
    assert (done.returncode, calls(house)) == (2, [])
    assert str(house / ".venv" / "bin") in done.stdout


def test_of_several_processes_one_speaks(house: Path) -> None:
    furnish(house, "exit 0")
    done = start(house, "--history", RANK="1")
    assert (done.returncode, done.stdout + done.stderr) == (2, "")


@pytest.mark.parametrize(("line", "code"), [("exit 4", 4), ("kill -TERM $$", 143)])
def test_windows_goes_on_in_a_child_and_takes_its_exit_code(house: Path, line: str, code: int) -> None:
    furnish(house, line, "Scripts", "python.exe")
    program = "import sys; from wizard.interpreter import fault; fault(sys.argv[1:], platform='nt')"
    environment = {**os.environ, "PYTHONPATH": str(house)}
    done = subprocess.run([*BARE, "-c", program, *ASKED], cwd=house, env=environment, check=False)
    assert (done.returncode, calls(house)) == (code, [list(ASKED)])


def test_ctrl_c_is_the_commands_own_affair() -> None:
    program = "import os, signal, sys\nos.kill(os.getppid(), signal.SIGINT)\nsys.exit(3)"
    assert wait_for([sys.executable, "-c", program]) == 3


def test_what_is_needed_is_what_is_required() -> None:
    required = (ROOT / "requirements.txt").read_text(encoding="utf-8").lower()
    others = [name for name in interpreter.NEEDED if not re.search(rf"^{name.replace('_', '-')}\b", required, re.M)]
    assert others == []
    assert lacking() == []


TOLD_BY = (
    "train_to_ollama.py",
    "wizard/interpreter.py",
    "wizard/words.py",
    "wizard/started.py",
    "wizard/screen/output.py",
)


@pytest.mark.parametrize("file", TOLD_BY)
def test_an_old_python_can_read_what_tells_it_that_it_is_old(file: str) -> None:
    ast.parse((ROOT / file).read_text(encoding="utf-8"), feature_version=(3, 8))


def test_an_old_python_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 8, 18, "final", 0))
    monkeypatch.setattr(interpreter, "own_python", lambda platform: None)  # noqa: ARG005
    found = interpreter.fault(["--history"])
    assert found is not None and found[0] == "error.packages.old_python"
    assert interpreter.tell(*found, json=False) == 2
    assert "3.8" in capsys.readouterr().out
