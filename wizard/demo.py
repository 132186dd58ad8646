"""The demo, `python -m wizard.demo`: the whole way with the small model that comes with the installation.

Trains the persona of data/demo by the ordinary command line, then puts the same questions to the base model and to the
trained one and shows the answers side by side.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lora_trainer.errors import UserError
from lora_trainer.events import Progress
from pipeline.conversation import asking, embedded_base_model, ollama_answers
from pipeline.run.history import History, Run
from wizard.screen import output
from wizard.screen.comparison import Compared, comparison_table
from wizard.screen.screen import Screen
from wizard.words import t

ROOT = Path(__file__).resolve().parent.parent
NAME = "biscuit-demo"
DATA = ROOT / "data" / "demo"
MARKER = "Arrr"
"""Stands in every answer of the data, and nowhere in the system prompt or the questions."""
NUMBERS = ("--epochs", "2", "--learning_rate", "1e-3")


def main(arguments: Sequence[str]) -> int:
    """Run the demo, with further flags for the training; the exit code of what failed, 0 where all of it ran."""
    output.never_fail_on_characters()
    screen = Screen()
    try:
        base = embedded_base_model()
        with_ollama = ollama_answers()
        code = _run([*train_command(base, register=with_ollama), *arguments])
        if code != 0:
            return code
        run = History().newest(NAME)
        assert run is not None
        compare(screen, run, base, with_ollama)
    except UserError as error:
        screen.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def train_command(base: Path, *, register: bool) -> list[str]:
    """What anybody would type to train the demo's model."""
    command = _entry("--base_model", str(base), "--data_dir", str(DATA), *NUMBERS, "--yes", "--on_exists", "overwrite")
    return command if register else [*command, "--no_register"]


def compare(screen: Screen, run: Run, base: Path, with_ollama: bool) -> None:
    """Ask both models all questions, show the answers and how often the marker stands in them."""
    from pipeline.publishing import gguf_path

    questions = (DATA / "questions.txt").read_text(encoding="utf-8").splitlines()
    answers = []
    for number, gguf in enumerate((base, None if with_ollama else gguf_path(run))):
        with asking(gguf, run) as ask:
            for index, question in enumerate(questions):
                answers.append(ask(question))
                screen.listen(Progress("demo", number * len(questions) + index + 1, 2 * len(questions)))
    screen.settle()
    before, after = answers[: len(questions)], answers[len(questions) :]
    rows = [Compared(q, b[0], a[0]) for q, b, a in zip(questions, before, after, strict=True)]
    screen.console.print(comparison_table(rows, MARKER))
    screen.note(
        "demo.result",
        marker=MARKER,
        before=_marked(before),
        after=_marked(after),
        stopped=sum(stopped for _, stopped in after),
        count=len(questions),
    )
    screen.note("demo.record", folder=run.folder)
    if with_ollama:
        screen.text(t("demo.chat", command=f"ollama run {NAME}"))
    else:
        screen.text(t("demo.register", command=_line(_entry("--register_only"))))


def _entry(*flags: str) -> list[str]:
    return [sys.executable, str(ROOT / "train_to_ollama.py"), "--ollama_name", NAME, *flags]


def _line(command: Sequence[str]) -> str:
    import os
    import shlex

    return subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)


def _run(command: Sequence[str]) -> int:
    with subprocess.Popen(command) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:  # the child hears Ctrl-C too, and says how to go on
                continue


def _marked(answers: Sequence[tuple[str, bool]]) -> int:
    return sum(MARKER.lower() in text.lower() for text, _ in answers)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
