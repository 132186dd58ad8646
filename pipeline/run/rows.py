"""The rows that a run was trained on, kept with it: `runs/NAME/N/rows.jsonl.gz`, some kB.

So it is known what has changed since, and a run can be repeated when its files are gone.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from file_formats.durable import write_whole
from lora_trainer.data.dataset import Dataset, fingerprint
from lora_trainer.data.dialogues import Dialogue, Dialogues
from pipeline.run.history import Run

NAME = "rows.jsonl.gz"
THOUGHT = "reasoning_content"
"""Key of a kept answer's thought, as in a training file."""


@dataclass(frozen=True)
class Change:
    """How the present rows differ from an earlier run's, training and validation rows together."""

    new: int
    gone: int


def has_rows(folder: Path) -> bool:
    """Whether the rows are kept beside a run's record."""
    return (folder / NAME).is_file()


def keep_rows(folder: Path, data: Dataset) -> None:
    """Write the rows beside a run's record: whole, or not under their name."""
    lines = []
    corrections = len(data.train) - data.corrections
    for part, dialogues in (("train", data.train), ("val", data.val)):
        for number, dialogue in enumerate(dialogues):
            row = {"part": part, "file": dialogue.file, "line": dialogue.line, "messages": _marked(dialogue)}
            row |= {"unit": dialogue.unit} if dialogue.unit != "line" else {}
            row |= {key: v for key, v in (("style", dialogue.style), ("category", dialogue.category)) if v is not None}
            row |= {"corrected": True} if part == "train" and number >= corrections else {}
            lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    content = BytesIO()
    # without a time of its own: the same rows are the same bytes
    with gzip.GzipFile(filename="", mode="wb", fileobj=content, mtime=0) as packed:
        packed.write("".join(lines).encode("utf-8"))
    write_whole(folder / NAME, content.getvalue())


def rows_of(run: Run) -> Dataset | None:
    """The data set that a run was trained on, from the rows kept with it; None where there are none (any more)."""
    parts: dict[str, list[Dialogue]] = {"train": [], "val": []}
    path, corrections = run.folder / NAME, 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                corrections += row.get("corrected") is True
                parts[row["part"]].append(_dialogue(row))
    except (OSError, EOFError, ValueError, LookupError, TypeError):
        return None
    if not parts["train"]:
        return None
    system: str | None = run.record["system"]
    content = path.read_bytes()
    return Dataset(
        train=Dialogues(parts["train"]),
        val=Dialogues(parts["val"]),
        findings=(),
        system=system,
        fingerprint=fingerprint(parts["train"], parts["val"], system),
        files={str(path): {"rows": len(parts["train"]), "sha256": hashlib.sha256(content).hexdigest()}},
        split=bool(run.record["data"].get("split")),
        corrections=corrections,
    )


def _marked(dialogue: Dialogue) -> list[dict[str, Any]]:
    """The messages; answers that aren't learnt marked as in OpenAI's fine-tuning format, thoughts beside theirs."""
    learnt, rows = dialogue.learnt, []
    for at, message in enumerate(dialogue.messages):
        marks: dict[str, Any] = {}
        if message["role"] == "assistant":
            marks |= {} if at in learnt else {"weight": 0}
            marks |= {THOUGHT: thought} if (thought := dialogue.thought(at)) else {}
        rows.append({**message, **marks})
    return rows


def _dialogue(row: dict[str, Any]) -> Dialogue:
    answers = [message for message in row["messages"] if message["role"] == "assistant"]
    thoughts = [str(answer.get(THOUGHT, "")) for answer in answers]
    return Dialogue(
        messages=tuple({name: message[name] for name in ("role", "content")} for message in row["messages"]),
        file=row["file"],
        line=row["line"],
        style=row.get("style"),
        category=row.get("category"),
        unlearnt=tuple(number for number, answer in enumerate(answers) if answer.get("weight") == 0),
        unit="row" if row.get("unit") == "row" else "line",
        thoughts=tuple(thoughts) if any(thoughts) else (),
    )


def change_since(run: Run, data: Dataset) -> Change | None:
    """What is new and what is gone against a run's rows; None where these weren't kept."""
    before = rows_of(run)
    if before is None:
        return None
    was, now = (Counter(d.key for part in (rows.train, rows.val) for d in part) for rows in (before, data))
    return Change(new=(now - was).total(), gone=(was - now).total())
