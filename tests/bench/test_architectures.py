"""The table of architectures is made from runs: some of each kind go the whole way here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.architectures.__main__ import CLOSE
from tests.support.architectures import FAMILIES, WRAPPERS
from tests.support.project import ROOT

KINDS = ("olmo", "qwen2_moe", "falcon_h1", "lfm2", "ministral3", "qwen2_5_vl")
"""An output changed in place, experts, a state space, convolutions, a converter that hands on, one that sees."""


@pytest.mark.posix("each in a process of its own, by fork")
def test_the_next_token_is_as_likely_in_llama_cpp_as_in_transformers(tmp_path: Path) -> None:
    page = tmp_path / "models.md"
    command = [sys.executable, "-m", "bench.architectures", "--only", *KINDS, "gpt2", "--out", str(page)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    rows = {row["type"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in KINDS:
        assert rows[kind]["kl"] <= CLOSE, rows[kind]
    # and what can't be trained says so in words
    assert "no linear layer" in rows["gpt2"]["why"] and "crashed" not in rows["gpt2"]
    text = page.read_text(encoding="utf-8")
    assert f"{len(KINDS) + 1} 种里 {len(KINDS)} 种" in text
    assert all(f"\n| `{kind}` |" in text for kind in (*KINDS, "gpt2"))


def test_the_page_has_a_row_for_each() -> None:
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert all(f"\n| `{name}` |" in text for name in (*FAMILIES, *WRAPPERS)) and len(FAMILIES) > 60
