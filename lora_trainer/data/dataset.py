"""The dialogues of a run: read from JSONL, validated row by row, split, and given their system prompt.

Faults and notes are collected, never raised one by one, so that a user mends a file in one go.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

from lora_trainer.chat_format import Message
from lora_trainer.data.dialogues import Dialogue, Dialogues
from lora_trainer.data.files import BOM, json_reason, read_bytes, whole_file_fault
from lora_trainer.data.formats import read_row, shown, trim
from lora_trainer.errors import DataError

SPLIT_FROM_ROWS = 20
"""Rows from which on a validation part is split off where there is no val.jsonl."""
SPLIT_SHARE, SPLIT_LEAST, SPLIT_MOST = 0.1, 2, 100
_LISTED = 5
"""Line numbers and groups that a note names before it ends in an ellipsis."""


@dataclass(frozen=True)
class Finding:
    """Something about the data that the user should know: text key and values, with its place."""

    kind: Literal["fault", "note"]
    file: str
    line: int
    """Counted from 1; 0 for the whole file."""
    key: str
    values: dict[str, Any] = field(default_factory=dict)


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

    def set_aside(self) -> None:
        """Let the dialogues take no memory until they are asked for again: training needs token ids only."""
        for dialogues in (self.train, self.val):
            dialogues.set_aside()

    def statistics(self) -> dict[str, Any]:
        """Counts over the training dialogues (and the validation rows' number), for screen and run record."""
        talks = [[m for m in dialogue.messages if m["role"] != "system"] for dialogue in self.train]
        answers = [m["content"] for talk in talks for m in talk if m["role"] == "assistant"]
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
    seed: int = 42,
) -> Dataset:
    """Read `train.jsonl` and, where there is one, `val.jsonl` (or the files named).

    A relative file that isn't in the working directory is looked for in `data_dir`; `val.jsonl` is looked for
    beside the training file. Faults of rows are findings. Raises DataError where a file is missing, can't be read
    or holds no rows, and with `skip_bad_rows` also where no usable row is left.
    """
    train_path = _locate(train_file or Path("train.jsonl"), data_dir, named=train_file is not None)
    val_path = _locate(val_file, data_dir, named=True) if val_file else train_path.parent / "val.jsonl"
    reader = Reader(system=None if no_system else trim(system or "") or None)
    train = reader.read(train_path)
    val = reader.read(val_path) if val_file or val_path.exists() else None
    if not train and skip_bad_rows:
        raise DataError("error.data.nothing_left", file=str(train_path), findings=reader.findings)
    if reader.system is None and not no_system:
        common = Counter(dialogue.system for dialogue in train if dialogue.system is not None).most_common(1)
        reader.system = common[0][0] if common else None
    train = reader.with_system(train, train_path, no_system)
    reader.note_duplicates(train, train_path)
    split = False
    if val is not None:
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


def raise_on_faults(dataset: Dataset) -> None:
    """Raise DataError with all faults in `values['findings']` where there are any."""
    if faults := dataset.faults:
        raise DataError("error.data.faults", count=len(faults), findings=list(faults))


def _locate(path: Path, data_dir: Path, *, named: bool) -> Path:
    return path if named and (path.is_absolute() or path.exists()) else data_dir / path


class Reader:
    """Reads files one after the other and keeps what was found."""

    def __init__(self, system: str | None) -> None:
        self.system = system
        self.findings: list[Finding] = []
        self.files: dict[str, dict[str, Any]] = {}
        self._systems: dict[str, Message] = {}

    def shared(self, message: Message) -> Message:
        """The same message; a system prompt is held once, however many dialogues have it."""
        return self._systems.setdefault(message["content"], message) if message["role"] == "system" else message

    def add(self, kind: Literal["fault", "note"], path: Path, line: int, key: str, **values: Any) -> None:
        self.findings.append(Finding(kind, str(path), line, key, values))

    def read(self, path: Path) -> list[Dialogue]:
        data = read_bytes(path)
        dialogues: list[Dialogue] = []
        if fault := whole_file_fault(path, data):
            line, key, values = fault
            self.add("fault", path, line, key, **values)
        else:
            dialogues = self._rows(path, data)
        self.files[str(path)] = {"rows": len(dialogues), "sha256": hashlib.sha256(data).hexdigest()}
        return dialogues

    def _rows(self, path: Path, data: bytes) -> list[Dialogue]:
        if data.startswith(BOM):
            self.add("note", path, 0, "data.note.bom")
        if windows := data.count(b"\r\n"):
            self.add("note", path, 0, "data.note.crlf", count=windows)
        dialogues, name = [], str(path)
        for number, raw in enumerate(BytesIO(data), 1):
            try:
                # A BOM in the middle comes of files joined together.
                line = raw.decode("utf-8").removesuffix("\n").lstrip("\ufeff")
            except UnicodeDecodeError as error:
                self.add(
                    "fault", path, number, "data.fault.utf8", byte=f"0x{raw[error.start]:02X}", column=error.start + 1
                )
                continue
            if not trim(line):
                continue
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                reason, at = json_reason(error)
                near = shown(line[max(0, at - 15) : at + 15])
                self.add("fault", path, number, "data.fault.json", reason=reason, column=at + 1, near=near)
                continue
            row = read_row(values)
            for key, found in row.faults.items():
                self.add("fault", path, number, key, **found)
            if not row.faults:
                style, category = (
                    sys.intern(v) if isinstance(v := values.get(k), str) else None for k in ("style", "category")
                )
                messages = tuple(self.shared(message) for message in row.messages)
                dialogues.append(Dialogue(messages, name, number, style, category))
        return dialogues

    def with_system(self, dialogues: list[Dialogue], path: Path, no_system: bool) -> list[Dialogue]:
        """Give the run's system prompt to the rows that have none, or with `no_system` take all of them away."""
        result = []
        counts: Counter[str] = Counter()
        for dialogue in dialogues:
            if no_system and dialogue.system is not None:
                counts["system_removed"] += 1
                dialogue = replace(dialogue, messages=dialogue.messages[1:])
            elif self.system is not None and dialogue.system is None:
                counts["system_added"] += 1
                first = self.shared({"role": "system", "content": self.system})
                dialogue = replace(dialogue, messages=(first, *dialogue.messages))
            elif dialogue.system != self.system and not no_system:
                counts["system_differs"] += 1
            result.append(dialogue)
        for name, count in counts.items():
            self.add("note", path, 0, f"data.note.{name}", count=count)
        return result

    def note_duplicates(self, dialogues: Iterable[Dialogue], path: Path) -> None:
        lines: dict[tuple[str, ...], list[int]] = {}
        for dialogue in dialogues:
            lines.setdefault(dialogue.key, []).append(dialogue.line)
        groups = [group for group in lines.values() if len(group) > 1]
        if groups:
            count = sum(len(group) - 1 for group in groups)
            self.add("note", path, groups[0][1], "data.note.duplicates", count=count, lines=_listed(groups))

    def note_shared(self, train: Iterable[Dialogue], val: Iterable[Dialogue], path: Path) -> None:
        lines: dict[tuple[str, ...], int] = {}
        for dialogue in train:
            lines.setdefault(dialogue.key, dialogue.line)
        shared = [[lines[dialogue.key], dialogue.line] for dialogue in val if dialogue.key in lines]
        if shared:
            self.add("note", path, shared[0][1], "data.note.in_both", count=len(shared), lines=_listed(shared))


def _listed(groups: list[list[int]]) -> str:
    text = "; ".join(" = ".join(map(str, group[:_LISTED])) for group in groups[:_LISTED])
    return text + " …" if len(groups) > _LISTED else text


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
