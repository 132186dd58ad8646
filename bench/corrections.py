"""What three corrections do to a real character: the loss on them and on the other rows, and what it answers.

    python -m bench.corrections --base FILE.gguf [--data data] [--epochs 2] [--add_epochs 1] [--home FOLDER]

A character is trained, asked three questions, put right three times as in the chat, and trained on: once from its
adapter (warm start), once anew from the base model with all rows. Losses are nats for a token of an answer, its end
included: on each correction, on the training rows and on the validation rows, before and after. Answers are greedy, by
the built-in llama.cpp. Without --home the runs are gone afterwards. Prints two tables in Markdown.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.run.history import History, Run

ROOT = Path(__file__).resolve().parents[1]
NAME = "linzhi"
PUT_RIGHT = {
    "你是人工智能吗？": "（愣了一下，摇头）不、不是呀……我是林栀，在旧书店看店的。",
    "你在哪里上班？": "（指了指窗外）老街尽头的旧书店……你、你要来坐坐吗？",
    "你今年多大了？": "（低下头，声音很小）二、二十四了……不许笑。",
}
"""Question -> the answer that is taught in place of the character's own."""
LONGEST = 60
COLUMNS = ("", "before", "from its adapter", "anew")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--data", default=str(ROOT / "data"))
    parser.add_argument("--epochs", default="2")
    parser.add_argument("--add_epochs", default="1")
    parser.add_argument("--home", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(measured(options, options.home or Path(folder)))
    return 0


def measured(options: argparse.Namespace, home: Path) -> str:
    """Three trainings, and what became of the rows."""
    from pipeline.run.corrections import Correction, put_right

    history = History(home)
    taught = ["--base_model", options.base, "--data_dir", options.data, "--epochs", options.epochs]
    runs = [trained(history, *taught)]
    answers = [said(runs[0])]
    for (question, answer), own in zip(PUT_RIGHT.items(), answers[0], strict=True):
        put_right(history, NAME, Correction(({"role": "user", "content": question},), answer, own))
    go_on = ("--continue_train", "--from_run", str(runs[0].number), "--add_epochs", options.add_epochs)
    for way in ("--warm_start", "--from_scratch"):
        runs.append(trained(history, *go_on, way))
        answers.append(said(runs[-1]))
    rows = losses(runs)
    return table(rows) + "\n" + table([(question, *each) for question, *each in zip(PUT_RIGHT, *answers, strict=True)])


def trained(history: History, *flags: str) -> Run:
    """The run that the program made of these flags; ends the bench where it fails."""
    command = [sys.executable, str(ROOT / "train_to_ollama.py"), "--ollama_name", NAME, "--no_register", "--yes"]
    environment = {**os.environ, "TRAIN_TO_OLLAMA_HOME": str(history.home)}
    subprocess.run([*command, *flags], cwd=ROOT, env=environment, stdout=sys.stderr, check=True)
    return history.runs(NAME)[-1]


def said(run: Run) -> list[str]:
    """What it answers to the three questions."""
    from pipeline.chat import InLlamaCpp, Tried
    from pipeline.publishing import gguf_path

    talker = InLlamaCpp(gguf_path(run), run)
    greedy = Tried(parameters={"temperature": 0})
    try:
        turns = ([{"role": "user", "content": question}] for question in PUT_RIGHT)
        return [talker.answer(asked, greedy, 1, lambda _: None).text for asked in turns]
    finally:
        talker.close()


def losses(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """Each correction, the training rows without them, and the validation rows, by every run's adapter."""
    from lora_trainer.chat_format import ChatFormat
    from lora_trainer.data.encode import encode
    from lora_trainer.models.load import load_model, load_tokenizer
    from lora_trainer.models.source import resolve_base_model
    from pipeline.run.rows import rows_of

    base = resolve_base_model(runs[0].record["base"]["source"])
    tokenizer, fmt = load_tokenizer(base), ChatFormat.from_json(runs[0].record["chat_format"])
    data = rows_of(runs[-1])
    assert data is not None and data.corrections == len(PUT_RIGHT)
    plain = len(data.train) - data.corrections
    parts = {question: [data.train[plain + at]] for at, question in enumerate(PUT_RIGHT)}
    parts |= {f"the other {plain} rows": list(data.train[:plain]), f"{len(data.val)} validation rows": list(data.val)}
    encoded = {name: encode(rows, fmt, tokenizer, 2048)[0] for name, rows in parts.items()}
    found: dict[str, list[str]] = {name: [] for name in parts}
    for run in runs:
        from peft import PeftModel

        model: Any = PeftModel.from_pretrained(load_model(base, "cpu", "float32"), run.folder / "adapter").eval()
        for name, dialogues in encoded.items():
            found[name].append(f"{mean_loss(model, (s for each in dialogues for s in each.sequences)):.3f}")
    return [(name, *each) for name, each in found.items()]


def mean_loss(model: Any, sequences: Iterable[Any]) -> float:
    """Nats for a token of the answers and their ends."""
    import torch

    total, tokens = 0.0, 0
    for sequence in sequences:
        ids = torch.tensor([[*sequence.prompt_ids, *sequence.completion_ids]])
        labels = torch.tensor([[-100] * len(sequence.prompt_ids) + list(sequence.completion_ids)])
        with torch.no_grad():
            total += float(model(ids, labels=labels).loss) * len(sequence.completion_ids)
        tokens += len(sequence.completion_ids)
    return total / tokens


def shortened(text: str) -> str:
    """Greedy answers of small models may go round in circles."""
    return text if len(text) <= LONGEST else text[:LONGEST] + "……"


def table(rows: Iterable[Sequence[str]]) -> str:
    """Rows under COLUMNS."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *([shortened(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(' '.join(cell.split()) for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
