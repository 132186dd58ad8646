"""The base model of a run: what comes with it, what became of it, and what is said of it."""

from __future__ import annotations

from pathlib import Path

from tests.support.foreign_code import MARK, add_code
from tests.support.program import Program
from tests.support.tiny import make_tiny


def test_a_folders_own_code_is_named_and_never_run_from_the_checks_to_the_gguf(tmp_path: Path) -> None:
    program = Program(tmp_path)
    base = add_code(make_tiny(tmp_path / "glm4", "glm4"))
    program.environment |= {MARK: str(tmp_path / "ran"), "HF_HOME": str(tmp_path / "hub")}
    told = program.run("--no_register", "--base_model", str(base))
    assert told["status"] == "done" and Path(told["folder"], "zzhua.gguf").is_file()
    assert "own.py" in told["shown"] and "never run" in told["shown"]
    assert not (tmp_path / "ran").exists()
