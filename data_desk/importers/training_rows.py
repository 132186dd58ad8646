"""Files that a training reads already: rows as JSON, one a line or in one array.

The formats are those of lora_trainer/data/formats.py (data/README.md tells them); the rows are merged as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from data_desk.dialogue import Choices, Dialogue, Tally, clean
from data_desk.sample import Sample
from lora_trainer.data.formats import read_row

_LOOKED_AT = 20
_DEEPEST = 50


def reads(sample: Sample) -> bool:
    """Whether one of its first rows is one."""
    return any(not read_row(row).faults for row in _rows(sample)[:_LOOKED_AT])


def dialogues(sample: Sample, choices: Choices, tally: Tally) -> Iterator[Dialogue]:
    """The rows in their order; those that no training could use are counted."""
    for values in _rows(sample):
        row = read_row(values)
        if row.faults or _is_deep(values):
            tally.left["unusable"] += 1
        elif any(word in message["content"] for message in row.messages for word in choices.drop):
            tally.left["dropped"] += 1
        else:
            yield Dialogue(tuple(row.messages), _cleaned(values))


def _rows(sample: Sample) -> list[Any]:
    return sample.json_lines or (sample.json if isinstance(sample.json, list) else [])


def _is_deep(values: Any) -> bool:
    """Whether a row is nested as no row is, so that what goes through it might not come back."""
    level = [values]
    for _ in range(_DEEPEST):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return False
    return True


def _inside(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _cleaned(values: Any) -> Any:
    """The same without what can't be written."""
    if isinstance(values, str):
        return clean(values)
    if isinstance(values, list):
        return [_cleaned(value) for value in values]
    return {clean(key): _cleaned(value) for key, value in values.items()} if isinstance(values, dict) else values
