"""Files of dialogues, and what is found in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lora_trainer.data.dataset import Dataset, load_dataset


def chat(user: str = "hi", answer: str = "hello", system: str | None = None) -> dict[str, Any]:
    """A row of one question and its answer."""
    first = [{"role": "system", "content": system}] if system else []
    return {"messages": [*first, {"role": "user", "content": user}, {"role": "assistant", "content": answer}]}


def turns(*pairs: tuple[Any, Any]) -> dict[str, Any]:
    """A row of these roles and contents."""
    return {"messages": [{"role": role, "content": content} for role, content in pairs]}


def lines(*rows: Any) -> bytes:
    """JSONL; bytes stand in it as they are."""
    return b"".join((r if isinstance(r, bytes) else json.dumps(r, ensure_ascii=False).encode()) + b"\n" for r in rows)


def load(folder: Path, train: bytes, val: bytes | None = None, **options: Any) -> Dataset:
    """The data set of a folder with these files."""
    folder.mkdir(exist_ok=True)
    (folder / "train.jsonl").write_bytes(train)
    if val is not None:
        (folder / "val.jsonl").write_bytes(val)
    return load_dataset(folder, **options)


def kinds(dataset: Dataset) -> list[tuple[int, str]]:
    """Place and kind of each fault."""
    return [(finding.line, finding.key.removeprefix("data.fault.")) for finding in dataset.faults]


def notes(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Kind -> values of each note."""
    return {finding.key.removeprefix("data.note."): finding.values for finding in dataset.notes}
