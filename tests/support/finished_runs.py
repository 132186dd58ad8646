"""Records and answers of trainings that went in one way or another, as a run leaves them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lora_trainer.plan import TrainPlan
from pipeline.outcome.asked import Answer, Asked, Comparison, Question, Side
from tests.support.project import ROOT

BASE_SAYS = (
    "您好！我是一个由阿里云开发的大型语言模型，可以回答问题、创作文字，比如写故事、写公文，随时为您服务。",
    "作为一个人工智能语言模型，我没有个人的感受，不过我可以为您提供一些建议，希望对您有帮助。",
    "这是一个很好的问题。总的来说，这取决于很多因素，包括时间、地点和个人的情况。",
)


def answers_of(file: str) -> list[str]:
    """The assistant's turns of a file that comes with the program."""
    rows = [json.loads(line) for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    return [message["content"] for row in rows for message in row["messages"] if message["role"] == "assistant"]


TAUGHT, UNSEEN = answers_of("data/train.jsonl"), answers_of("data/val.jsonl")


def record(
    *,
    rows: int = 87,
    epochs: float = 3.5,
    losses: Sequence[float] = (3.2, 2.0),
    val_losses: Sequence[tuple[float, float]] = ((0, 3.5), (1, 2.9), (2, 2.6), (3.5, 2.41)),
    general: tuple[float, float] | None = (3.48, 3.51),
    points: Sequence[float] = (),
    number: int = 1,
    **numbers: Any,
) -> dict[str, Any]:
    """A trained run: training losses from the first to the last of `losses` in a line, `val_losses` by epochs."""
    plan = TrainPlan(epochs=epochs, **numbers)
    per_epoch, steps = plan.steps_per_epoch(rows), plan.total_steps(rows)
    first, last = losses
    training: dict[str, Any] = {
        "steps": steps,
        "losses": [[at + 1, first + (last - first) * at / max(1, steps - 1)] for at in range(steps)],
        "val_losses": [[round(at * per_epoch), loss] for at, loss in val_losses],
        "best_step": None,
        "seconds": 1600.0,
        "adapter": "adapter",
    }
    if general:
        training["general_loss"] = {"language": "zh", "before": general[0], "after": general[1]}
    if points:
        training["points"] = [
            {"step": round(at * per_epoch), "epochs": at, "general_loss": None, "adapter": f"points/{at}"}
            for at in points
        ]
    return {
        "name": "linzhi",
        "number": number,
        "status": "trained",
        "publications": [],
        "plan": plan.to_json(),
        "data": {
            "fingerprint": f"rows {rows}",
            "rows": rows,
            "val_rows": 14,
            "train_file": "data/train.jsonl",
            "val_file": "data/val.jsonl",
            "files": {
                "data/train.jsonl": {"rows": rows, "sha256": f"train {rows}"},
                "data/val.jsonl": {"rows": 14, "sha256": "val"},
            },
            "rows_of_run": None,
            "split": False,
        },
        "base": {"source": "Qwen/Qwen2.5-0.5B-Instruct", "revision": "1"},
        "system": "你是林栀。",
        "warm_start": None,
        "training": training,
    }


def said(*texts: str, stopped: bool = True, before: Sequence[str] = BASE_SAYS, kind: Any = "base") -> Comparison:
    """`texts` as the answers to as many questions, beside `before` in turn."""
    asked = tuple(
        Asked(
            Question(f"第{at}个问题？", "validation"),
            Answer(before[at % len(before)], True, 40) if before else None,
            Answer(text, stopped, len(text)),
        )
        for at, text in enumerate(texts)
    )
    return Comparison(Side(kind, "Qwen", 1 if kind == "run" else None), Side("run", "linzhi", 2, 3.5), asked, 42)
