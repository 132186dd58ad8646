"""What the user should know about the data, as text keys with values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from lora_trainer.data.layouts.file_row import Unit


@dataclass(frozen=True)
class Finding:
    """Something about the data that the user should know: text key and values, with its place."""

    kind: Literal["fault", "note"]
    file: str
    line: int
    """Counted from 1; 0 for the whole file."""
    key: str
    values: dict[str, Any] = field(default_factory=dict)
    unit: Unit = "line"
    """What `line` counts: where a file's lines tell nothing, its rows."""
