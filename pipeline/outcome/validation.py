"""Which runs' validation losses can be compared: those of the same rows, under one system prompt, of one base model.

Records of any version are read: what one doesn't tell is taken for another.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Any, Literal

from pipeline.run.history import Run

Same = Literal["same", "rows", "words", "base"]
_ROWS = "rows.jsonl.gz"


def validated_alike(record: Mapping[str, Any], other: Mapping[str, Any]) -> Same:
    """Whether the validation losses of two records can be compared, else why not: other `rows`, other `words` before
    them (the system prompt), or another `base` model, which may count in other tokens.
    """
    base, other_base = _part(record, "base"), _part(other, "base")
    if any(base.get(name) != other_base.get(name) for name in ("source", "revision")):
        return "base"
    if record.get("system") != other.get("system"):
        return "words"
    fingerprint = _part(record, "data").get("fingerprint")
    if fingerprint is not None and fingerprint == _part(other, "data").get("fingerprint"):
        return "same"
    source = _source(record)
    return "same" if source is not None and source == _source(other) else "rows"


def is_comparable(run: Run, other: Run) -> bool:
    """As `validated_alike`, with the rows that were kept with the runs: the same may have come from another file."""
    alike = validated_alike(run.record, other.record)
    if alike != "rows":
        return alike == "same"
    rows = _rows(run)
    return rows is not None and rows == _rows(other)


def _source(record: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What decides the validation rows: the content of their file, or of the file that they were split off and the
    seed of that; None where the record doesn't tell.
    """
    data = _part(record, "data")
    files = _part(data, "files")
    train, val, *_ = [data["train_file"], data.get("val_file")] if "train_file" in data else [*files, None, None]
    if data.get("rows_of_run") is not None:
        return None
    if val is not None:
        digest = _part(files, str(val)).get("sha256")
        return None if digest is None else ("file", digest)
    digest = _part(files, str(train)).get("sha256")
    if digest is None or not data.get("split"):
        return None
    return ("split", digest, _part(record, "plan").get("seed"))


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = record.get(name)
    return value if isinstance(value, Mapping) else {}


def _rows(run: Run) -> list[str] | None:
    """The validation rows kept with a run, in an order of their own; None where none are."""
    try:
        with gzip.open(run.folder / _ROWS, "rt", encoding="utf-8") as lines:
            rows = [row for row in map(json.loads, lines) if row["part"] == "val"]
            return sorted(json.dumps(row["messages"], sort_keys=True) for row in rows) or None
    except (OSError, EOFError, ValueError, LookupError, TypeError):
        return None
