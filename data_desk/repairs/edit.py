"""A place that is mended: what stands there becomes something else, and how that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lora_trainer.data.written import shown

_AROUND, _MOST = 12, 60
"""Characters that are shown on both sides of a place, and of the place at most."""


@dataclass(frozen=True)
class Edit:
    """`text[start:end]` becomes `new`; `repair` is the name of the rule."""

    repair: str
    start: int
    end: int
    new: str


@dataclass(frozen=True)
class Change:
    """One place of a file that a repair mends."""

    repair: str
    line: int
    """Counted from 1, in the file's unit; 0 for the whole file."""
    before: str = ""
    after: str = ""


def applied(text: str, edits: Sequence[Edit]) -> str:
    """The text with all edits, which don't overlap."""
    parts, at = [], 0
    for edit in sorted(edits, key=lambda edit: edit.start):
        parts += [text[at : edit.start], edit.new]
        at = edit.end
    return "".join([*parts, text[at:]])


def around(text: str, edit: Edit) -> tuple[str, str]:
    """The place of an edit before and after it, with a few characters beside it."""
    left, right = text[max(0, edit.start - _AROUND) : edit.start], text[edit.end : edit.end + _AROUND]
    return shown(left + text[edit.start : edit.end] + right, _MOST), shown(left + edit.new + right, _MOST)


def difference(before: str, after: str) -> tuple[str, str]:
    """The part in which two texts differ, with a few characters beside it."""
    most = min(len(before), len(after))
    head = next((at for at in range(most) if before[at] != after[at]), most)
    tail = next((at for at in range(most - head) if before[-1 - at] != after[-1 - at]), most - head)
    return around(before, Edit("", head, len(before) - tail, after[head : len(after) - tail]))
