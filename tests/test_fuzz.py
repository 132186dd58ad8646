"""Files from elsewhere, however broken, are used or refused in plain words: a sample of `python -m tests.fuzz`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.__main__ import SEED, fuzz
from tests.fuzz.kinds import KINDS, make_source

CASES = {"gguf": 30, "safetensors": 30, "config": 30, "tokenizer_config": 20, "rows": 20, "imports": 60}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("fuzz")
    make_source(found / "source")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_file_is_used_or_refused_and_never_a_traceback(folder: Path, kind: str) -> None:
    print(f"python -m tests.fuzz {kind} --seed {SEED} --count {CASES[kind]}")  # noqa: T201 - shown where the test fails
    report = fuzz(kind, SEED, 0, CASES[kind], folder)
    assert report.faults == {}
    # some of each, or nothing was tried
    assert sum(report.outcomes.values()) == CASES[kind] and 0 < report.outcomes["used"] < CASES[kind]
