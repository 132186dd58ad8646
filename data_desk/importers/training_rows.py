"""Files that a training reads already: rows as JSON, one a line or in one array, and parquet.

The formats are those of lora_trainer/data/formats.py (data/README.md tells them), and the files are read as a training
reads them. Rows are merged as they are, with the weights of their answers; only what a training leaves out, thoughts
and the turns of tools, stays behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from data_desk.dialogue import Choices, Dialogue, Tally, clean
from data_desk.sample import MOST_BYTES, Sample
from lora_trainer.data.formats import Row, read_row
from lora_trainer.data.layouts.choose import rows_of_text
from lora_trainer.data.layouts.file_row import BadFile, FileRow
from lora_trainer.data.layouts.parquet import MAGIC, rows_of_parquet
from lora_trainer.data.names import KEYS
from lora_trainer.errors import DataError

_LOOKED_AT = 20
_DEEPEST = 50
_KEPT = ("style", "category")
"""Of the keys that mean something to a training, those that aren't the dialogue's."""


def reads(sample: Sample) -> bool:
    """Whether one of its first rows is one. Raises DataError for a parquet file that is broken."""
    return any(not found.fault and not read_row(found.content).faults for found in islice(_rows(sample), _LOOKED_AT))


def dialogues(sample: Sample, choices: Choices, tally: Tally) -> Iterator[Dialogue]:
    """The rows in their order; those that no training could use are counted. Raises DataError."""
    for found in _rows(sample):
        row = Row() if found.fault else read_row(found.content)
        if found.fault or row.faults or _is_deep(found.content):
            tally.left["unusable"] += 1
        elif any(word in message["content"] for message in row.messages for word in choices.drop):
            tally.left["dropped"] += 1
        else:
            tally.left["tool"] += row.tools + row.thoughtful
            is_whole = not row.tools and not row.thoughtful
            yield Dialogue(tuple(row.messages), _cleaned(found.content if is_whole else _without(found.content, row)))


def _rows(sample: Sample) -> Iterator[FileRow]:
    """The rows as a training reads them; none where the file as a whole is something else."""
    try:
        if sample.data.startswith(MAGIC):
            yield from _no_more_than_a_text(sample)
        elif sample.text.lstrip()[:1] in ("{", "["):
            yield from rows_of_text(sample.utf8)[1]
    except BadFile as bad:
        if bad.key == "data.fault.parquet":
            raise DataError("error.import.broken", file=sample.name, reason=bad.values["reason"]) from bad


def _no_more_than_a_text(sample: Sample) -> Iterator[FileRow]:
    """A parquet file's rows, as much of them as could stand in a text: what repeats takes no room in such a file."""
    size = 0
    for found in rows_of_parquet(sample.data):
        size += len(str(found.content))
        if size > MOST_BYTES:
            raise DataError("error.import.bomb", file=sample.name)
        yield found


def _without(values: dict[str, Any], row: Row) -> dict[str, Any]:
    """A row without what was left out of it. An answer that isn't learnt is marked as in OpenAI's format."""
    messages: list[dict[str, Any]] = []
    answers = 0
    for message in row.messages:
        messages.append({**message})
        if message["role"] == "assistant":
            if answers in row.unlearnt:
                messages[-1]["weight"] = 0
            answers += 1
    return {"messages": messages, **{key: value for key, value in values.items() if key in _KEPT or key not in KEYS}}


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
    if isinstance(values, dict):
        return {clean(key): _cleaned(value) for key, value in values.items()}
    # parquet knows times and bytes
    return values if values is None or isinstance(values, bool | int | float) else clean(str(values))
