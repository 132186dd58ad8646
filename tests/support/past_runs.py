"""Records of trainings that are over, as they stand in a home: of each kind one, with all that a record can hold."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from lora_trainer.plan import TrainPlan
from pipeline.outcome.asked import Answer, Asked, Comparison, Question, Side
from pipeline.run.history import History, Run

NAME = "linzhi"
INTRODUCE = "你好，请介绍一下自己"
BASE = {"source": "Qwen/Qwen2.5-0.5B-Instruct", "revision": "c0ffee"}


def record_run(home: Path, created: str, epochs: float, *, name: str = NAME, trained: bool = True, **more: Any) -> Run:
    """A run of `epochs` on some rows; what is of interest is said, by the record's fields or as below.

    `rows`, `val` (the content of the validation file), `change`: of its data; `plan`: its numbers; `vals`: its
    validation losses as (step, loss); `training`: more of what the training left; `checkpoint`: a step of which there
    is one.
    """
    rows, val, change = more.pop("rows", 64), more.pop("val", "v1"), more.pop("change", None)
    files = {"data/train.jsonl": {"rows": rows, "sha256": f"t{rows}"}, "data/val.jsonl": {"rows": 14, "sha256": val}}
    data = {"train_file": "data/train.jsonl", "val_file": "data/val.jsonl", "files": files, "rows": rows}
    data |= {"val_rows": 14, "turns": rows + 20, "fingerprint": f"{rows}{val}", "change": change, "split": False}
    vals = more.pop("vals", [(0, 3.18), (44, 2.77)])
    training = {"steps": 77, "losses": [[step, 3 - step / 40] for step in range(77)], "adapter": "adapter"}
    training |= {"val_losses": [list(at) for at in vals], "best_step": vals[-1][0], **more.pop("training", {})}
    seconds, checkpoint = more.pop("seconds", 840.0), more.pop("checkpoint", None)
    given = {"request": {}, "strategy": None, "parent": None, "overwrite": False, "warm_start": None, "base": BASE}
    given |= {"system": "你是林栀。", "quantize": "q8_0", "parameters": {"temperature": 0.7}, "data": data}
    given |= {"plan": TrainPlan(epochs=epochs, **more.pop("plan", {})).to_json()}
    run = History(home).begin(name, **given)
    if checkpoint is not None:
        (run.folder / "checkpoints" / f"checkpoint-{checkpoint}").mkdir(parents=True)
    if trained:
        run.mark_done("train", seconds, training=training)
    run.update(**{"status": "done", **more, "created": created})
    return run


def published(order: int, digest: str = "") -> dict[str, Any]:
    """What a record has of a publication."""
    digest = digest or f"{order:064x}"
    return {"publications": [{"digest": digest, "gguf": None, "backup": None, "finished": str(order), "order": order}]}


def card(after: int, asked: int = 10) -> dict[str, Any]:
    """A card's record: of so many answers asked, so many have the data's habit."""
    habit = {"kind": "opening", "text": "（", "taught": 0.98, "before": 0, "after": after}
    step = {"key": "chat", "values": {}, "flags": []}
    return {
        "card": {"verdict": "learned", "lines": [], "next_step": step, "facts": {"asked": asked, "habits": [habit]}}
    }


def compared(number: int, answers: dict[str, str], before: dict[str, str], other: int | None = None) -> dict[str, Any]:
    """A comparison's record: of run `number` with run `other`, or the base model."""
    side = Side("run", NAME, other, 2.0) if other else Side("base", BASE["source"])
    asked = tuple(
        Asked(Question(text, "always"), Answer(before[text], True, 5), Answer(answer, True, 5))
        for text, answer in answers.items()
    )
    return {"comparison": Comparison(side, Side("run", NAME, number, 3.5), asked, 42, {}).to_record()}


def keep_rows(run: Run, val: list[str], train: list[str]) -> None:
    """Rows beside a run, each a question that is answered."""
    rows = [("train", text) for text in train] + [("val", text) for text in val]
    with gzip.open(run.folder / "rows.jsonl.gz", "wt", encoding="utf-8") as file:
        for line, (part, text) in enumerate(rows, 1):
            messages = [{"role": "user", "content": text}, {"role": "assistant", "content": "嗯"}]
            file.write(json.dumps({"part": part, "file": "a.jsonl", "line": line, "messages": messages}) + "\n")


def record_runs(home: Path) -> list[Run]:
    """Five runs of one character: new, added to, on other rows, declined with kept points, interrupted."""
    base = {INTRODUCE: "您好！我是一个由阿里云开发的大型语言模型，名叫通义千问。", "1+1=?": "2"}
    shy = {INTRODUCE: "（捏着衣角）我叫林栀。", "1+1=?": "二"}
    shelf = "（从书架后面探出半个头）我、我叫林栀……在这家旧书店上班。"
    kept = [
        {"step": 22, "epochs": 1.0, "val_loss": 2.38, "general_loss": 3.4, "adapter": "points/22", "samples": []},
        {"step": 143, "epochs": 6.5, "val_loss": 3.02, "general_loss": None, "adapter": "adapter", "samples": []},
    ]
    samples = [
        {"step": 22, "epochs": 1.0, "question": "在吗", "answer": "在。", "stopped": True},
        {"step": 143, "epochs": 6.5, "question": "在吗", "answer": "在、在的\x1b[31m……", "stopped": True},
    ]
    along = {"points": kept, "samples": samples, "general_loss": {"language": "zh", "before": 3.48, "after": 3.52}}
    more = {"strategy": "incremental", "parent": 3, "rows": 87, "val": "v2"}
    first = record_run(home, "2026-11-20T11:30:00+00:00", 2.0, **published(1), vals=[(0, 3.18), (32, 2.77)])
    added = {"strategy": "incremental", "request": {"add_epochs": 1.5}, "parent": 1, **published(2), **card(8)}
    added |= {"vals": [(0, 3.18), (32, 2.7), (56, 2.58)], "seconds": 600.0, **compared(2, shy, base)}
    second = record_run(home, "2026-11-22T12:11:00+00:00", 3.5, **added)
    changed = {**more, "strategy": "augment", "parent": 2, "change": {"new": 25, "gone": 2}, **published(3), **card(9)}
    changed |= {"vals": [(0, 3.18), (44, 2.5), (77, 2.41)], "seconds": 1600.0, "note": "自然"}
    third = record_run(
        home, "2026-11-25T13:04:00+00:00", 3.5, **changed, **compared(3, {INTRODUCE: shelf}, shy, other=2)
    )
    declined = {**more, "status": "declined", "training": along, "note": "背答案，话也太多了，下次少练一点"}
    declined |= {"vals": [(0, 3.18), (22, 2.38), (143, 3.02)], "plan": {"learning_rate": 1e-4, "lora_rank": 16}}
    fourth = record_run(home, "2026-11-26T12:40:00+00:00", 6.5, **declined)
    stopped = {**more, "status": "interrupted", "trained": False, "checkpoint": 34}
    return [first, second, third, fourth, record_run(home, "2026-11-26T13:20:00+00:00", 5.0, **stopped)]
