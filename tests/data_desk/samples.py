"""The samples of every format in tests/data/imports, each with the rows that a reader would have made of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_desk.dialogue import Choices
from data_desk.sample import Sample, open_sample
from tests.support.project import ROOT

FOLDER = ROOT / "tests" / "data" / "imports"
_BESIDE = ".rows.json"


@dataclass(frozen=True)
class Expected:
    """One sample, and what is to be read in it."""

    path: Path
    told: dict[str, Any]

    @property
    def sample(self) -> Sample:
        """The file."""
        return open_sample(self.path)

    @property
    def format(self) -> str:
        """The module of its importer."""
        return str(self.told["format"])

    @property
    def choices(self) -> Choices:
        """What a user would have decided."""
        return Choices(character=self.told.get("character"), columns=self.told.get("columns", {}))

    @property
    def rows(self) -> list[list[tuple[str, str]]]:
        """(role, text) of each turn of each row."""
        return [[(role, text) for role, text in row] for row in self.told["rows"]]


def all_samples() -> list[Expected]:
    paths = sorted(path for path in FOLDER.iterdir() if not path.name.endswith(_BESIDE))
    return [
        Expected(path, json.loads(path.with_name(path.name + _BESIDE).read_text(encoding="utf-8"))) for path in paths
    ]
