"""Files -> dialogues, one file after the other, and what was found in them."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from lora_trainer.chat_format import Message
from lora_trainer.data.dialogues import Dialogue
from lora_trainer.data.encodings import NAMES
from lora_trainer.data.files import as_utf8, read_bytes
from lora_trainer.data.findings import Finding
from lora_trainer.data.formats import Row, read_row
from lora_trainer.data.layouts.choose import rows_of_text
from lora_trainer.data.layouts.file_row import BadFile, FileRow, Unit
from lora_trainer.data.layouts.parquet import MAGIC, rows_of_parquet
from lora_trainer.errors import DataError

_LISTED = 5
"""Line numbers and groups that a note names before it ends in an ellipsis."""


class Reader:
    """Reads files one after the other and keeps what was found; with `thoughts` the thoughts of answers, too."""

    def __init__(self, system: str | None, *, thoughts: bool = False) -> None:
        self.system = system
        self._thoughts = thoughts
        self.findings: list[Finding] = []
        self.files: dict[str, dict[str, Any]] = {}
        self._units: dict[Path, Unit] = {}
        self._systems: dict[str, Message] = {}

    def add(self, kind: Literal["fault", "note"], path: Path, line: int, key: str, **values: Any) -> None:
        """Note a finding."""
        self.findings.append(Finding(kind, str(path), line, key, values, self._units.get(path, "line")))

    def read(self, path: Path) -> list[Dialogue]:
        """A file's dialogues; of those with faults there are findings. Raises DataError where it has no rows at all."""
        return self.take(path, read_bytes(path))

    def take(self, path: Path, data: bytes) -> list[Dialogue]:
        """The same of a file whose bytes are known."""
        before = len(self.findings)
        try:
            dialogues = self._dialogues(path, self._rows(path, data))
        except BadFile as bad:
            del self.findings[before:]
            dialogues = []
            self.add("fault", path, bad.line, bad.key, **bad.values)
        self.files[str(path)] = {"rows": len(dialogues), "sha256": hashlib.sha256(data).hexdigest()}
        return dialogues

    def _rows(self, path: Path, data: bytes) -> Iterator[FileRow]:
        if data.startswith(MAGIC):
            self._units[path] = "row"
            return rows_of_parquet(data)
        text, codec = as_utf8(data)
        if codec == "utf-8-sig" or (codec == "utf-8" and len(text) < len(data)):
            self.add("note", path, 0, "data.note.bom")
        elif codec != "utf-8":
            self.add("note", path, 0, "data.note.encoding", encoding=NAMES[codec])
        if windows := text.count(b"\r\n"):
            self.add("note", path, 0, "data.note.crlf", count=windows)
        self._units[path], rows = rows_of_text(text)
        return rows

    def _dialogues(self, path: Path, rows: Iterator[FileRow]) -> list[Dialogue]:
        dialogues, name, counts, only_history = [], str(path), Counter[str](), []
        for found in rows:
            counts["rows"] += 1
            if found.fault:
                self.add("fault", path, found.number, found.fault, **found.values)
                continue
            row = read_row(found.content)
            for key, values in row.faults.items():
                self.add("fault", path, found.number, key, **values)
            unfit = row.unfit_thoughts if self._thoughts else []
            for where, character in unfit:
                self.add("fault", path, found.number, "data.fault.bad_character", where=where, character=character)
            if row.faults or unfit:
                continue
            counts["tools"] += row.tools
            counts["thoughts_learnt" if self._thoughts else "thoughts"] += row.thoughtful
            dialogue = self._dialogue(row, found, name, self._units[path])
            if dialogue.learnt:
                counts["unlearnt"] += len(row.unlearnt)
                dialogues.append(dialogue)
            else:
                only_history.append([found.number])
        if not counts["rows"]:
            raise DataError("error.data.empty", file=name)
        for kind in ("thoughts", "thoughts_learnt", "tools", "unlearnt"):
            if count := counts[kind]:
                self.add("note", path, 0, f"data.note.{kind}", count=count)
        if only_history:
            lines = listed(only_history)
            self.add("note", path, 0, "data.note.nothing_learnt", count=len(only_history), lines=lines)
        return dialogues

    def _dialogue(self, row: Row, found: FileRow, file: str, unit: Unit) -> Dialogue:
        style, category, source = (
            sys.intern(v) if isinstance(v := found.content.get(k), str) else None
            for k in ("style", "category", "source")
        )
        messages = tuple(self._shared(message) for message in row.messages)
        thoughts = tuple(row.thoughts) if self._thoughts and any(row.thoughts) else ()
        return Dialogue(messages, file, found.number, style, category, row.unlearnt, unit, source, thoughts)

    def _shared(self, message: Message) -> Message:
        """The same message; a system prompt is held once, however many dialogues have it."""
        return self._systems.setdefault(message["content"], message) if message["role"] == "system" else message

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
                first = self._shared({"role": "system", "content": self.system})
                dialogue = replace(dialogue, messages=(first, *dialogue.messages))
            elif dialogue.system != self.system and not no_system:
                counts["system_differs"] += 1
            result.append(dialogue)
        for name, count in counts.items():
            self.add("note", path, 0, f"data.note.{name}", count=count)
        return result

    def note_duplicates(self, dialogues: Iterable[Dialogue], path: Path) -> None:
        """Note dialogues that are there twice."""
        lines: dict[tuple[str, ...], list[int]] = {}
        for dialogue in dialogues:
            lines.setdefault(dialogue.key, []).append(dialogue.line)
        groups = [group for group in lines.values() if len(group) > 1]
        if groups:
            count = sum(len(group) - 1 for group in groups)
            self.add("note", path, groups[0][1], "data.note.duplicates", count=count, lines=listed(groups))

    def note_shared(self, train: Iterable[Dialogue], val: Iterable[Dialogue], path: Path) -> None:
        """Note validation dialogues that are training dialogues too."""
        lines: dict[tuple[str, ...], int] = {}
        for dialogue in train:
            lines.setdefault(dialogue.key, dialogue.line)
        shared = [[lines[dialogue.key], dialogue.line] for dialogue in val if dialogue.key in lines]
        if shared:
            self.add("note", path, shared[0][1], "data.note.in_both", count=len(shared), lines=listed(shared))


def listed(groups: list[list[int]]) -> str:
    """Numbers of equal rows, the first groups of them."""
    text = "; ".join(" = ".join(map(str, group[:_LISTED])) for group in groups[:_LISTED])
    return text + " …" if len(groups) > _LISTED else text
