"""A program whose model `zzhua` was trained by an older version: its runs are there without a training.

tests/data/schema-1 was made by version 0.1 of the program (run record schema 1) from the tiny model: a run of one
epoch with `--temperature 0.6`, and one that continued it by half an epoch. `{folder}` stands where the program was.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.program import NO_OLLAMA, Program
from tests.support.project import TESTS

PLACES = {"base": "基座 base", "data": "数据 data", "runs": "运行 runs"}


def older_program(folder: Path, url: str = NO_OLLAMA) -> Program:
    """The program in `folder`, with the Ollama at `url`, in which nothing of the runs stands yet."""
    found = Program(folder, url)
    for kept, name in PLACES.items():
        shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(TESTS / "data" / "schema-1" / kept, folder / name)
    for path in (folder / PLACES["runs"]).rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("{folder}", folder.as_posix()), encoding="utf-8")
    return found
