"""The README keeps up with the program."""

from __future__ import annotations

import re

import pytest

from pipeline.flags import FLAGS
from tests.terminal import ROOT


@pytest.mark.parametrize("flag", [flag.name for flag in FLAGS])
def test_every_flag_stands_in_the_readme(flag: str) -> None:
    assert re.search(rf"--{flag}\b", (ROOT / "README.md").read_text(encoding="utf-8"))
