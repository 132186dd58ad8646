"""The planted bugs still have their places: `python -m tests.mutants` plants them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.mutants.__main__ import all_mutants
from tests.mutants.mutant import Moved, Mutant
from tests.support.project import ROOT


@pytest.mark.parametrize("mutant", all_mutants(), ids=lambda mutant: mutant.name)
def test_a_planted_bug_has_its_place_and_its_tests(mutant: Mutant, tmp_path: Path) -> None:
    (tmp_path / mutant.file).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / mutant.file, tmp_path / mutant.file)
    mutant.plant(tmp_path)
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8"), test


def test_a_place_that_is_gone_or_there_twice_is_a_loud_failure(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\nx = 1\n")
    for mutant in (
        Mutant("twice", "a.py", "x = 1", "x = 2", ()),
        Mutant("gone", "a.py", "y = 1", "y = 2", ()),
        Mutant("no file", "b.py", "x = 1", "x = 2", ()),
        Mutant("no change", "a.py", "x = 1\nx", "x = 1\nx", ()),
    ):
        with pytest.raises(Moved):
            mutant.plant(tmp_path)
