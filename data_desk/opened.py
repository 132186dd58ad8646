"""A training file and its validation file as the desk looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from data_desk.statistics import Statistics, statistics
from lora_trainer.data.dialogues import Dialogue
from lora_trainer.data.findings import Finding
from lora_trainer.data.reading import Reader


@dataclass(frozen=True)
class Files:
    """Where dialogues lie; neither has to be there."""

    train: Path
    val: Path

    @property
    def there(self) -> list[Path]:
        """Those that are there, each once."""
        beside = self.val.is_file() and self.val.resolve() != self.train.resolve()
        return [*([self.train] if self.train.is_file() else []), *([self.val] if beside else [])]


@dataclass(frozen=True)
class Opened:
    """What is in them now."""

    files: Files
    train: Sequence[Dialogue]
    val: Sequence[Dialogue]
    findings: tuple[Finding, ...]

    @cached_property
    def statistics(self) -> Statistics:
        """What the rows are like that have no faults."""
        return statistics(self.train, self.val)

    @property
    def faults(self) -> tuple[Finding, ...]:
        """What has to be mended or left out before a training."""
        return tuple(finding for finding in self.findings if finding.kind == "fault")


def open_files(files: Files, *, may_be_new: bool = False) -> Opened:
    """Read both; `may_be_new`: a training file that isn't there yet, or is empty, has no rows.

    Raises DataError as training does: a file is missing, can't be read or holds no rows.
    """
    reader = Reader(system=None)
    is_new = may_be_new and not _has_anything(files.train)
    train = [] if is_new else reader.read(files.train)
    val = reader.read(files.val) if _has_anything(files.val) else []
    return Opened(files, tuple(train), tuple(val), tuple(reader.findings))


def _has_anything(file: Path) -> bool:
    return file.is_file() and bool(file.read_bytes().strip())
