"""Answers that somebody put right or kept while talking to a model: `runs/NAME/corrections.jsonl`, a row for each.

The rows are in OpenAI's format for fine-tuning, where an assistant turn of weight 0 is history that isn't learnt
(https://platform.openai.com/docs/guides/supervised-fine-tuning): what the model said before is its own, and nobody has
approved of it. An answer that was put right stands beside its row, as `rejected`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from file_formats.durable import sync_folder, write_whole
from lora_trainer.chat_format import Message
from lora_trainer.data.written import trim
from pipeline.run.history import History, usable
from pipeline.run.record import json_bytes

NAME = "corrections.jsonl"


@dataclass(frozen=True)
class Correction:
    """An answer that is to be learnt."""

    before: tuple[Message, ...]
    """The dialogue that it answers: user and assistant in turns, the last one the user's."""
    answer: str
    rejected: str | None = None
    """The answer in whose place it is; None where the model's own is kept."""

    def to_json(self) -> dict[str, Any]:
        """The row."""
        heard = [{**turn, "weight": 0} if turn["role"] == "assistant" else dict(turn) for turn in self.before]
        rejected = {} if self.rejected is None else {"rejected": self.rejected}
        return {"messages": [*heard, {"role": "assistant", "content": self.answer, "weight": 1}], **rejected}


@dataclass(frozen=True)
class Written:
    """What a correction has become in the file."""

    line: bytes
    before: bytes | None
    """The line in whose place it stands."""


def clean(text: str) -> str:
    """An answer as a training row may have it: without white space at its ends, NUL and halves of surrogate pairs."""
    return trim(text.encode("utf-8", errors="ignore").decode("utf-8").replace("\0", ""))


def corrections_of(history: History, name: str) -> Path:
    """The file of a model; it need not be there."""
    return history.folder_of(name) / NAME


def count_corrections(path: Path) -> int:
    """How many rows there are. Raises ResourceError where they can't be read."""
    return len(_lines(path))


def put_right(history: History, name: str, correction: Correction) -> Written | None:
    """Write a correction, in place of an earlier one of the same answer; None where the file says that already.

    Raises UsageError where somebody else is at work on the model, ResourceError where nothing can be written.
    """
    path = corrections_of(history, name)
    with history.lock(name), usable(path.parent):
        lines = _lines(path)
        heard = _talk(correction.before)
        at = next((i for i, line in enumerate(lines) if _heard(line) == heard), len(lines))
        before = lines[at] if at < len(lines) else None
        correction = _after(correction, before)
        line = json_bytes(correction.to_json())
        if line == before:
            return None
        lines[at : at + 1] = [line]
        _write(path, lines)
    return Written(line, before)


def take_back(history: History, name: str, written: Written) -> None:
    """Let the file be as it was before a correction; what somebody has changed since stays. Raises as `put_right`."""
    path = corrections_of(history, name)
    with history.lock(name), usable(path.parent):
        lines = _lines(path)
        if written.line in lines:
            at = lines.index(written.line)
            lines[at : at + 1] = [] if written.before is None else [written.before]
            _write(path, lines)


def _after(correction: Correction, line: bytes | None) -> Correction:
    """The correction, behind an earlier one of the same answer: what is rejected is what the model has said itself."""
    known = _row(line) if line is not None else {}
    own = known.get("rejected")
    if isinstance(own, str) and known["messages"][-1]["content"] in (correction.rejected, correction.answer):
        correction = replace(correction, rejected=own)
    return replace(correction, rejected=None) if correction.rejected == correction.answer else correction


def _row(line: bytes) -> dict[str, Any]:
    """A line as it was written here; an empty row of one that wasn't."""
    with suppress(ValueError, LookupError, TypeError, RecursionError):
        row = json.loads(line)
        texts = [turn[part] for turn in row["messages"] for part in ("role", "content")]
        if texts and all(isinstance(text, str) for text in texts):
            return dict(row)
    return {}


def _heard(line: bytes) -> list[tuple[str, str]] | None:
    row = _row(line)
    return _talk(row["messages"][:-1]) if row else None


def _talk(turns: Sequence[Message]) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in turns if turn["role"] != "system"]


def _lines(path: Path) -> list[bytes]:
    with usable(path.parent):
        if not path.is_file():
            return []
        # a line that somebody else has written is kept as it is, whatever its bytes
        return [line for line in path.read_bytes().split(b"\n") if line.strip()]


def _write(path: Path, lines: Sequence[bytes]) -> None:
    if lines:
        write_whole(path, b"".join(line + b"\n" for line in lines))
    else:
        path.unlink()
    sync_folder(path.parent)
