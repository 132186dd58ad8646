"""The dialogues of a run: read from files, validated row by row, split, and given their system prompt.

Faults and notes are collected, never raised one by one, so that a user mends a file in one go.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_trainer.data.dialogues import Dialogue, Dialogues, learnt_answers
from lora_trainer.data.findings import Finding
from lora_trainer.data.reading import Reader
from lora_trainer.data.written import trim
from lora_trainer.errors import DataError

SPLIT_FROM_ROWS = 20
"""Rows from which on a validation part is split off where there is no val.jsonl."""
SPLIT_SHARE, SPLIT_LEAST, SPLIT_MOST = 0.1, 2, 100


@dataclass(frozen=True)
class Dataset:
    """What a run trains and validates on. Rows with faults are in `findings`, not in `train` or `val`."""

    train: Dialogues
    val: Dialogues
    findings: tuple[Finding, ...]
    system: str | None
    """The run's one system prompt, which is the Modelfile's too."""
    fingerprint: str
    """sha256 over the normalised dialogues, in order, and the system prompt; the same on every platform."""
    files: dict[str, dict[str, Any]]
    """Path as given -> usable rows and sha256 of the bytes."""
    split: bool
    """`val` was split off the training file."""
    corrections: int = 0
    """So many of the last rows of `train` are answers that were put right in a conversation."""

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings that have to be mended or skipped."""
        return tuple(finding for finding in self.findings if finding.kind == "fault")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """The findings that stop nothing."""
        return tuple(finding for finding in self.findings if finding.kind == "note")

    @property
    def has_thoughts(self) -> bool:
        """Whether any answer is learnt together with what was thought before it."""
        return any(dialogue.thoughts for part in (self.train, self.val) for dialogue in part)

    def set_aside(self) -> None:
        """Let the dialogues take no memory until they are asked for again: training needs token ids only."""
        for dialogues in (self.train, self.val):
            dialogues.set_aside()

    def statistics(self) -> dict[str, Any]:
        """Counts over the training dialogues (and the validation rows' number), for screen and run record."""
        talks = [[m for m in dialogue.messages if m["role"] != "system"] for dialogue in self.train]
        answers = list(learnt_answers(self.train))
        return {
            "rows": len(self.train),
            "val_rows": len(self.val),
            "turns": len(answers),
            "several_turns": sum(len(talk) > 2 for talk in talks),
            "characters": sum(len(m["content"]) for talk in talks for m in talk),
            "answer_characters": sum(map(len, answers)),
            "longest_answer": max(map(len, answers), default=0),
            "styles": dict(Counter(d.style for d in self.train if d.style).most_common()),
            "categories": dict(Counter(d.category for d in self.train if d.category).most_common()),
        }


def load_dataset(
    data_dir: Path,
    *,
    train_file: Path | None = None,
    val_file: Path | None = None,
    system: str | None = None,
    no_system: bool = False,
    skip_bad_rows: bool = False,
    thoughts: bool = False,
    seed: int = 42,
) -> Dataset:
    """Read `train.jsonl` and, where there is one, `val.jsonl` (or the files named).

    A relative file that isn't in the working directory is looked for in `data_dir`; `val.jsonl` is looked for
    beside the training file. With `thoughts` what was thought before an answer is kept beside it, to be learnt, else
    left out. Faults of rows are findings. Raises DataError where a file is missing, can't be read
    or holds no rows, where none of its answers is to be learnt, and with `skip_bad_rows` where no usable row is left.
    """
    train_path, val_path = files_of(data_dir, train_file, val_file)
    reader = Reader(system=None if no_system else trim(system or "") or None, thoughts=thoughts)
    train = reader.read(train_path)
    val = reader.read(val_path) if val_path is not None else None
    if not train and not any(finding.kind == "fault" for finding in reader.findings):
        raise DataError("error.data.nothing_learnt", file=str(train_path))
    if not train and skip_bad_rows:
        raise DataError("error.data.nothing_left", file=str(train_path), findings=reader.findings)
    if reader.system is None and not no_system:
        reader.system = common_system(train)
    train = reader.with_system(train, train_path, no_system)
    reader.note_duplicates(train, train_path)
    if thoughts and train and not any(dialogue.thoughts for dialogue in train):
        reader.add("note", train_path, 0, "data.note.no_thoughts")
    split = False
    if val is not None and val_path is not None:
        val = reader.with_system(val, val_path, no_system)
        reader.note_duplicates(val, val_path)
        reader.note_shared(train, val, val_path)
    elif train:
        rows = len(train)
        train, val = _split(train, seed)
        if split := bool(val):
            reader.add("note", train_path, 0, "data.note.split", rows=rows, train=len(train), val=len(val), seed=seed)
        else:
            reader.add("note", train_path, 0, "data.note.no_val", rows=rows, least=SPLIT_FROM_ROWS)
    return Dataset(
        train=Dialogues(train),
        val=Dialogues(val or ()),
        findings=tuple(reader.findings),
        system=reader.system,
        fingerprint=fingerprint(train, val or (), reader.system),
        files=reader.files,
        split=split,
    )


def common_system(dialogues: Iterable[Dialogue]) -> str | None:
    """The system prompt that most of them have, the first of those that are as many; None where none has one."""
    common = Counter(dialogue.system for dialogue in dialogues if dialogue.system is not None).most_common(1)
    return common[0][0] if common else None


def raise_on_faults(dataset: Dataset) -> None:
    """Raise DataError with all faults in `values['findings']` where there are any."""
    if faults := dataset.faults:
        raise DataError("error.data.faults", count=len(faults), findings=list(faults))


def files_of(data_dir: Path, train_file: Path | None, val_file: Path | None) -> tuple[Path, Path | None]:
    """Where the training file lies and, named or beside it, the validation file; None where there is none."""
    train = locate(train_file or Path("train.jsonl"), data_dir, named=train_file is not None)
    val = locate(val_file, data_dir, named=True) if val_file else train.parent / "val.jsonl"
    return train, val if val_file or val.exists() else None


def locate(path: Path, data_dir: Path, *, named: bool) -> Path:
    """Where a data file is: one that was `named` may lie in the working directory, all others in the folder."""
    return path if named and (path.is_absolute() or path.exists()) else data_dir / path


def _split(dialogues: list[Dialogue], seed: int) -> tuple[list[Dialogue], list[Dialogue]]:
    """Split a validation part off, equal dialogues together.

    Chosen by a hash of seed and dialogue, not by place: when rows are added later, nearly all of the earlier
    validation dialogues stay what they were.
    """
    if len(dialogues) < SPLIT_FROM_ROWS:
        return dialogues, []
    wanted = min(SPLIT_MOST, max(SPLIT_LEAST, round(len(dialogues) * SPLIT_SHARE)))
    sizes = Counter(dialogue.key for dialogue in dialogues)
    chosen: set[tuple[str, ...]] = set()
    for key in sorted(sizes, key=lambda key: hashlib.sha256(json.dumps([seed, *key]).encode()).digest()):
        if sizes[key] <= wanted:
            chosen.add(key)
            wanted -= sizes[key]
        if not wanted:
            break
    return [d for d in dialogues if d.key not in chosen], [d for d in dialogues if d.key in chosen]


def fingerprint(train: Iterable[Dialogue], val: Iterable[Dialogue], system: str | None) -> str:
    """sha256 (hex) over what is learnt and validated on: dialogues in order, and the system prompt."""
    digest = hashlib.sha256(json.dumps(system).encode())
    for name, dialogues in (("train", train), ("val", val)):
        for dialogue in dialogues:
            digest.update(json.dumps([name, *dialogue.key]).encode() + b"\n")
    return digest.hexdigest()
