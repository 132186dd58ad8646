"""What it costs to look along the way of a training: answers and general text, as a share of the steps' time.

    python -m bench.samples [--data DIR] [--model smollm2|FOLDER|FILE.gguf] [--batch 4] [--epochs 1] [--questions 1]

One training as the program does it, with its evaluations, on the rows of DIR. All times are read from the log of that
very training, so that what else runs on the machine slows both down. Prints one JSON line: the seconds of all steps,
of the evaluations, answers and readings of general text, the last two also as shares of the first, and every answer
with its tokens and seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.real_base import source_of
from data_desk.counting.general import general_text
from pipeline.outcome.along import language_of, questions_along


def main() -> int:
    """Train, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data/demo", help="folder with train.jsonl and val.jsonl")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--batch", type=int, default=4, help="dialogues in one optimizer step")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--questions", type=int, default=1)
    parser.add_argument("--page", help="file with general text in place of the program's own")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(json.dumps(measure(options, Path(folder)), ensure_ascii=False) + "\n")
    return 0


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One training that is looked at."""
    from lora_trainer.data.dataset import load_dataset
    from lora_trainer.data.encode import encode
    from lora_trainer.engine.along.samples import prompts_of
    from lora_trainer.engine.checkpoints import Checkpoints
    from lora_trainer.models.load import chat_format_of, load_tokenizer
    from lora_trainer.models.source import resolve_base_model
    from lora_trainer.plan import TrainPlan
    from lora_trainer.train import train

    base = resolve_base_model(source_of(options.model))
    tokenizer = load_tokenizer(base)
    fmt = chat_format_of(base, tokenizer)
    data = load_dataset(Path(options.data))
    plan = TrainPlan(epochs=options.epochs, batch_size=options.batch)
    rows, val_rows = (encode(part, fmt, tokenizer, plan.max_length)[0] for part in (data.train, data.val))
    questions = questions_along(data, options.questions)
    page = Path(options.page).read_text(encoding="utf-8") if options.page else general_text(language_of(data))
    result = train(
        base,
        tokenizer,
        rows,
        val_rows,
        plan,
        folder,
        prompts=prompts_of(questions, data.system, fmt, tokenizer, plan.max_length),
        general_text=page,
    )
    history = Checkpoints(folder / "checkpoints").history(result.steps)

    def seconds(kind: str) -> float:
        return sum(entry["seconds"] for entry in history if kind in entry)

    steps, asked = seconds("loss"), [entry for entry in history if "samples" in entry]
    return {
        "steps": result.steps,
        "step_seconds": round(steps, 2),
        "evaluation_seconds": round(seconds("eval_loss"), 2),
        "sample_seconds": round(seconds("samples"), 2),
        "sample_share": round(seconds("samples") / steps, 4),
        "general_seconds": round(seconds("general_loss"), 2),
        "general_share": round(seconds("general_loss") / steps, 4),
        "general_loss": result.general_loss,
        "points": [(point.epochs, point.val_loss, point.general_loss) for point in result.points],
        "answers": [
            {"step": entry["step"], "tokens": entry["tokens"], "seconds": round(entry["seconds"], 2), **said}
            for entry in asked
            for said in entry["samples"] or [{"answer": None}]
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
