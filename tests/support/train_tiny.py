"""`python -m tests.support.train_tiny MODEL RUN PLAN_JSON OUT_JSON [WATCHER]`: train a tiny model, as a process."""

from __future__ import annotations

import json
import math
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lora_trainer.data.dialogues import Dialogue
from lora_trainer.data.encode import EncodedDialogues, encode
from lora_trainer.engine.along import samples
from lora_trainer.events import Event
from lora_trainer.models.load import chat_format_of, load_tokenizer
from lora_trainer.models.source import BaseModel, resolve_base_model
from lora_trainer.plan import TrainPlan
from lora_trainer.train import train
from tests.support.watchers import watcher

TALK = "Hello there, how are you today?"


def dialogues(count: int, start: int = 0) -> list[Dialogue]:
    """Short talks of unequal length, some with two answers, all with one system prompt."""
    talks = []
    for i in range(start, start + count):
        messages = [
            {"role": "system", "content": "你是林栀，说话轻软。"},
            {"role": "user", "content": f"在吗？ {i}" + " hello" * (i % 4)},
            {"role": "assistant", "content": "（点头）在的。" + "嗯" * (i % 5)},
        ]
        if i % 3 == 0:
            messages += [{"role": "user", "content": "a"}, {"role": "assistant", "content": f"b {i}"}]
        talks.append(Dialogue(tuple(messages), "train.jsonl", i + 1))
    return talks


def prepared(
    model: Path, rows: int = 13, val_rows: int = 4
) -> tuple[BaseModel, Any, EncodedDialogues, EncodedDialogues]:
    """Base model, tokenizer, training and validation rows."""
    base = resolve_base_model(str(model))
    tokenizer = load_tokenizer(base)
    fmt = chat_format_of(base, tokenizer)
    talks = dialogues(rows), dialogues(val_rows, 100)
    first, second = (encode(part, fmt, tokenizer, 1000)[0] for part in talks)
    return base, tokenizer, first, second


def main(model: str, run: str, plan: str, out: str, watch: str = "") -> None:
    """Train, or go on; write the result, and what this process was told, as JSON.

    It is looked at along the way, whatever time that takes, which changes no bit of what is learnt.
    """
    samples.SHARE, samples.MOST = math.inf, samples.LEAST
    events: list[Event] = []
    watching = watcher(watch)

    def listen(event: Event) -> None:
        events.append(event)
        watching(event)

    base, tokenizer, rows, val_rows = prepared(Path(model))
    result = train(
        base, tokenizer, rows, val_rows, TrainPlan.from_json(json.loads(plan)), Path(run),
        listener=listen, resume=True, general_text=TALK,
        prompts=samples.prompts_of([TALK], None, chat_format_of(base, tokenizer), tokenizer, 1000),
    )  # fmt: skip
    told = {"result": asdict(result), "events": [type(event).__name__ for event in events]}
    path = Path(f"{out}.{os.environ.get('RANK', '0')}")
    path.write_text(json.dumps(told, default=str), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
