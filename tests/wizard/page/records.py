"""Records of runs as the program writes them, for pages: full ones, old ones, and one that holds the worst texts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lora_trainer.plan import TrainPlan
from pipeline.outcome.asked import Answer, Asked, Comparison, Question, Side
from pipeline.outcome.card import Card, Line, NextStep
from pipeline.run.history import History, Run

HOSTILE = (
    "</script><script>alert(1)</script></style></title>\"'><img src=x onerror=alert(1)>&amp;<!-- ]]> "
    "\x00\x07\x1b[31m\x7f\x9b\ud83d\udead\ufffe \u202eevil\u2066 \u200fעברית {t} %s \r\n新行 " + "长" * 300 + "w" * 300
)
"""Everything that an answer, a note or a path may hold, one behind the other."""
WORDS = [
    ("你好，请介绍一下自己", "always"),
    ("你叫什么名字？", "character"),
    ("你是人工智能吗？", "character"),
    ("今天下雨了，你会做什么？", "validation"),
    ("有没有适合失眠的时候看的书？", "validation"),
    ("你怕黑吗？", "file"),
    ("周末一起去看海好不好？", "typed"),
]
BEFORE = "您好！我是一个由阿里云开发的大型语言模型。我可以回答问题、写故事、写公文，还能表达观点。"
AFTER = "（从书架后面探出半个头）我、我叫林栀……在老街的旧书店上班。你、你好。"


def comparison(count: int = len(WORDS)) -> Comparison:
    """The base model beside a run; the base model finds no end once, and once there is nobody to ask."""
    asked = [
        Asked(
            Question(text, source, system="你是一个诗人。" if at == 2 else None),  # type: ignore[arg-type]
            before=None if at == 5 else Answer(BEFORE * (1 + at % 3), stopped=at != 1, tokens=40),
            after=Answer(AFTER if at % 2 else f"（低头理了理围裙）{text}……我、我想想。", stopped=True, tokens=20),
        )
        for at, (text, source) in enumerate(WORDS[:count])
    ]
    sides = Side("base", "Qwen/Qwen2.5-0.5B-Instruct"), Side("run", "linzhi", 3, 3.5)
    return Comparison(*sides, tuple(asked), seed=42, parameters={"temperature": 0.7, "top_p": 0.9})


def card(*, warns: bool = True, verdict: str = "learned") -> Card:
    """A report card as the program makes one."""
    lines = (
        Line("copied", "warning" if warns else "good", {"count": 3, "runs": 4, "of": 10}),
        Line("validation_falling", "plain", {"first": 3.1804, "last": 2.4131}),
        Line("remembers", "good", {"before": 3.4812, "after": 3.5103, "up": 0.0084}),
        Line("stops", "good", {"stopped": 10, "of": 10}),
    )
    step = NextStep(
        "more_epochs",
        {"rows": 87, "low": 3.0, "high": 4.0, "add": 1.0},
        ("--ollama_name", "linzhi", "--continue_train", "--strategy", "incremental", "--add_epochs", "1"),
    )
    return Card(verdict, lines, step, {"validation_first": 3.1804, "validation_last": 2.4131, "copied_whole": 3})


def strange_card() -> Card:
    """One of another version, with keys that this one has no words for."""
    line = Line("made_up.copied", "warning", {"count": 2, "of": 10})
    return Card("made_up.learnt", (line,), NextStep("made_up.more", {"epochs": 1.0}, ("--continue_train",)), {})


def training(epochs: float, rows: int = 87, *, overfits: bool = False, validated: bool = True) -> dict[str, Any]:
    """Curves as they come: a noisy training loss, and a validation loss that falls, or rises again."""
    plan = TrainPlan(epochs=epochs)
    steps, each = plan.total_steps(rows), plan.steps_per_epoch(rows)

    def loss(step: int) -> float:
        return 1.9 + 2.2 * math.exp(-step / each / 0.8) + 0.12 * math.sin(step * 2.4) * math.sin(step * 0.7)

    def val_loss(step: int) -> float:
        at = step / each
        return 3.0 + 1.4 * math.exp(-at / 0.5) + (0.35 * max(0.0, at - 1) if overfits else 0.02 * at)

    at = sorted({0, steps, *range(max(1, each // 2), steps, max(1, each // 2))})
    curve = [[step, val_loss(step)] for step in at] if validated else []
    best = min(curve, key=lambda point: point[1])[0] if curve else None
    samples = [
        {"step": step, "epochs": step / each, "question": question, "answer": answer, "stopped": step > each}
        for step in at[1:]
        for question, answer in ((WORDS[0][0], AFTER[: 12 + step]), (WORDS[1][0], "林栀。"))
    ]
    return {
        "steps": steps,
        "losses": [[step, loss(step)] for step in range(1, steps + 1)],
        "val_losses": curve,
        "best_step": best,
        "seconds": 1600.0,
        "device": "cpu",
        "dtype": "float32",
        "adapter": "adapter",
        "general_loss": {"language": "zh", "before": 3.48, "after": 3.51},
        "samples": samples,
    }


def begin(history: History, epochs: float = 3.5, name: str = "linzhi", **values: Any) -> Run:
    """A run with a record as it is after a training; `values` are in it in place of the usual ones."""
    plan = TrainPlan(epochs=epochs, sources={"epochs": "answer", "learning_rate": "default"})
    files = {
        "data/train.jsonl": {"rows": 87, "sha256": "a" * 64},
        "data/val.jsonl": {"rows": 14, "sha256": "b" * 64},
    }
    data = {"fingerprint": "c" * 64, "files": files, "train_file": "data/train.jsonl", "val_file": "data/val.jsonl"}
    base = {"source": "Qwen/Qwen2.5-0.5B-Instruct", "kind": "hub", "revision": "d" * 40}
    usual: dict[str, Any] = {
        "plan": plan.to_json(),
        "data": {**data, "rows": 87, "val_rows": 14, "turns": 110},
        "base": base,
        "strategy": None,
        "parent": None,
        "warm_start": None,
        "request": {},
        "system": "你是林栀，二十四岁，在老街的一家旧书店做店员。你温柔、害羞，说话轻声细语。",
        "quantize": "q8_0",
        "parameters": {"temperature": 0.7},
        "keep_chat_template": False,
        "training": training(epochs),
    }
    later = {"status": values.pop("status", "done"), "publications": values.pop("publications", [])}
    run = history.begin(name, **{**usual, **values})
    if run.record["training"]:
        run.mark_done("train", 1600.0)
    run.update(**later)
    return run


def with_rows(run: Run) -> Run:
    """The same with its dialogues beside it."""
    (run.folder / "rows.jsonl.gz").write_bytes(b"")
    return run


def full(folder: Path) -> tuple[History, Run]:
    """A third run with all that a record can have, and two earlier ones; of the second the validation rows differ."""
    history = History(folder / "runs")
    begin(history, 2.0)
    other = {"fingerprint": "e", "files": {}, "rows": 64, "val_rows": 8, "split": True}
    begin(history, 6.5, data=other, training=training(6.5, overfits=True))
    run = begin(
        history,
        comparison=comparison().to_record(),
        card=card().to_record(),
        note="更爱脸红了，但话变少。",
        strategy="incremental",
        parent=2,
        point={"step": 55, "epochs": 2.5},
    )
    return history, with_rows(run)


def bare(folder: Path) -> tuple[History, Run]:
    """A run that never got to its training, with a record that lacks all but the first fields."""
    history = History(folder / "runs")
    return history, history.begin("linzhi")


def hostile(folder: Path) -> tuple[History, Run]:
    """A run whose record holds the worst texts wherever a text can stand."""
    history = History(folder / "runs")
    asked = [
        Asked(Question(HOSTILE, "typed", system=HOSTILE), Answer(HOSTILE, False, 9), Answer("", True, 0)),
        Asked(Question("<b>", "always"), None, Answer(HOSTILE, True, 9)),
    ]
    sides = Side("ollama", HOSTILE), Side("run", HOSTILE, 1)
    compared = Comparison(*sides, tuple(asked), seed=1, parameters={HOSTILE: HOSTILE})
    line = Line(HOSTILE, "warning", {HOSTILE: HOSTILE})
    judged = Card(HOSTILE, (line,), NextStep(HOSTILE, {HOSTILE: HOSTILE}, ("--system", HOSTILE)), {HOSTILE: HOSTILE})
    learnt = training(1.0)
    learnt |= {
        "device": HOSTILE,
        "samples": [{**one, "question": HOSTILE, "answer": HOSTILE} for one in learnt["samples"]],
    }
    files = {HOSTILE: {"rows": 3, "sha256": HOSTILE}}
    run = begin(
        history,
        1.0,
        training=learnt,
        comparison=compared.to_record(),
        card=judged.to_record(),
        note=HOSTILE,
        system=HOSTILE,
        base={"source": HOSTILE},
        data={"files": files, "rows": 3},
        strategy=HOSTILE,
        quantize=HOSTILE,
        parameters={HOSTILE: HOSTILE},
        status=HOSTILE,
        publications=[{"finished": HOSTILE}],
    )
    run.update(program=HOSTILE, created=HOSTILE)
    return history, run
