"""What runs where: the workflow, the markers, and the versions of Python that are spoken of."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.conftest import HERE
from tests.support.project import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
POSIX_ONLY = {"fcntl", "termios", "pty", "tty", "resource", "pwd", "grp", "pexpect"}
ROOMS = ("file_formats", "lora_trainer", "ollama_export", "data_desk", "pipeline", "wizard", "tests")


def jobs() -> list[dict[str, list[str]]]:
    return [job["strategy"]["matrix"] for job in WORKFLOW["jobs"].values()]


def test_every_version_of_python_that_the_program_takes_is_tested_on_every_system() -> None:
    oldest, newest = re.findall(r"3\.(\d+)", PROJECT["project"]["requires-python"])
    versions = [f"3.{minor}" for minor in range(int(oldest), int(newest))]
    assert [matrix["python"] for matrix in jobs()] == [versions] * len(jobs())
    systems = [job["runs-on"] for job in WORKFLOW["jobs"].values() if "$" not in job["runs-on"]]
    systems += [system for matrix in jobs() for system in matrix.get("system", [])]
    assert sorted(systems) == ["macos-latest", "ubuntu-latest", "windows-latest"]


def test_the_workflow_chooses_tests_by_markers_that_there_are() -> None:
    declared = {line.partition(":")[0] for line in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    assert declared == set(HERE)
    chosen = {row["system"]: row["fits"] for matrix in jobs() for row in matrix.get("include", [])}
    assert {word for fits in chosen.values() for word in fits.split()} - {"not", "and"} == declared
    assert "posix" in chosen["windows-latest"] and "posix" not in chosen["macos-latest"]


def at_the_top(tree: ast.Module) -> Iterator[str]:
    """The packages that are imported as soon as a module is."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).split(".")[0]


def test_no_module_needs_posix_to_be_imported() -> None:
    modules = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    needing = {
        path.relative_to(ROOT).as_posix(): found
        for path in modules
        if (found := POSIX_ONLY & {*at_the_top(ast.parse(path.read_text(encoding="utf-8")))})
    }
    assert len(modules) > 300 and needing == {}


def test_a_test_that_needs_another_system_is_passed_over(tmp_path: Path) -> None:
    hook = (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    (tmp_path / "conftest.py").write_text(f"{hook}\nHERE['linux'] = False\n", encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  linux: x\n  posix: y\n", encoding="utf-8")
    tests = "import pytest\n@pytest.mark.linux('its files')\ndef test_a(): assert False\ndef test_b(): pass\n"
    (tmp_path / "test_here.py").write_text(tests, encoding="utf-8")
    words = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "."]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert "1 passed, 1 skipped" in done.stdout and "needs linux: its files" in done.stdout, done.stdout


def test_the_systems_on_which_nothing_was_tried_are_named() -> None:
    page = (ROOT / "docs" / "own-machine.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE))
    for system in ("Windows 10、11", "macOS，Apple 芯片", "Linux ARM", "Linux + NVIDIA 显卡", "WSL2"):
        assert any(row.startswith(system) and said.startswith("没有") for row, said in rows.items()), system
