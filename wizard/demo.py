"""The demo, `python -m wizard.demo`: the whole way with the small model that comes with the installation.

Trains the persona of data/demo by the ordinary command line, then puts the same questions to the base model and to the
trained one, shows what both say, and asks where to go on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from lora_trainer.errors import Cancelled, UserError
from pipeline.conversation import embedded_base_model, ollama_answers
from pipeline.outcome.asked import Answer, Comparison, Question
from pipeline.outcome.comparison.compare import Comparing, keep
from pipeline.outcome.comparison.questions import FILE, lines_of
from pipeline.run.history import History, Run
from pipeline.run.published import connect
from wizard import prompts
from wizard.commands import command
from wizard.prompts import Back, Row
from wizard.screen import output
from wizard.screen.comparison import answer_lines, marks_of
from wizard.screen.screen import Screen
from wizard.screen.training import duration
from wizard.words import t

ROOT = Path(__file__).resolve().parent.parent
NAME = "biscuit-demo"
DATA = ROOT / "data" / "demo"
MARKER = "Arrr"
"""Stands in every answer of the data, and nowhere in the system prompt or the questions."""
ANSWER_TOKENS = 128
SHOWN = 3
"""Questions that are shown at a terminal, where the others are shown when they are asked for."""
NUMBERS = ("--epochs", "2", "--learning_rate", "1e-3")


def main(arguments: Sequence[str]) -> int:
    """Run the demo, with further flags for the training; the exit code of what failed, 0 where all of it ran."""
    output.never_fail_on_characters()
    screen = Screen()
    try:
        base = embedded_base_model()
        with_ollama = ollama_answers()
        code = _run([*train_command(base, register=with_ollama), *arguments], TRAIN_TO_OLLAMA_BRIEF="1")
        if code != 0:
            return code
        run = History().newest(NAME)
        assert run is not None
        comparison = compare(Screen(brief=True), run, with_ollama)
        if comparison is not None:
            tell(screen, run, comparison, with_ollama)
            return go_on(screen, comparison, with_ollama)
    except UserError as error:
        screen.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def train_command(base: Path, *, register: bool) -> list[str]:
    """What anybody would type to train the demo's model."""
    words = _entry("--base_model", str(base), "--data_dir", str(DATA), *NUMBERS, "--yes", "--on_exists", "overwrite")
    return words if register else [*words, "--no_register"]


def compare(screen: Screen, run: Run, with_ollama: bool) -> Comparison | None:
    """Ask both models all questions, by the likeliest token each time, and keep that with the run."""
    questions = [Question(text, "file") for text in lines_of(DATA / FILE, screen.listen)]
    with Comparing(
        run,
        None,
        history=History(),
        client=connect() if with_ollama else None,
        parameters={"temperature": 0.0},
        answer_tokens=ANSWER_TOKENS,
        listener=screen.listen,
    ) as both:
        comparison = both.compare(questions)
        if comparison is not None:
            keep(run, both.to_record(comparison))
    screen.settle()
    return comparison


def tell(screen: Screen, run: Run, comparison: Comparison, with_ollama: bool) -> None:
    """Some answers of both, at a pipe all, how often the marker stands in them, and where to go on."""
    data, width, marks = run.record["data"], screen.console.width, marks_of(screen)
    seconds = duration(run.record["training"]["seconds"])
    before, after = (_marked(getattr(one, side) for one in comparison.asked) for side in ("before", "after"))
    learnt = after > len(comparison.asked) // 2
    screen.text("\n" + t("demo.title" if learnt else "demo.title.too_little", rows=data["rows"], time=seconds))
    asks = prompts.can_ask()
    asked = comparison.asked[:SHOWN] if asks else comparison.asked
    screen.lines(answer_lines(asked, width, marks), MARKER)
    screen.note(
        "demo.result",
        marker=MARKER,
        before=before,
        after=after,
        stopped=sum(one.after.stopped for one in comparison.asked),
        count=len(comparison.asked),
    )
    screen.note("demo.record", folder=run.folder)
    if with_ollama:
        screen.text(t("demo.chat", command=f"ollama run {NAME}"))
    else:
        screen.text(t("demo.register", command=command("--ollama_name", NAME, "--register_only")))


def go_on(screen: Screen, comparison: Comparison, with_ollama: bool) -> int:
    """What the user wants to do next, who is asked at a terminal alone; the exit code of that."""
    if not prompts.can_ask():
        return 0
    rows = [Row("all", t("demo.next.all", count=len(comparison.asked))), Row("train", t("demo.next.train"))]
    if with_ollama:
        rows.insert(0, Row("talk", t("demo.next.talk")))
    rows.append(Row("leave", t("demo.next.leave"), key="0"))
    while True:
        try:
            chosen = prompts.select(t("demo.next"), rows, flag="--yes")
        except (Back, Cancelled):
            return 0
        if chosen == "all":
            screen.lines(answer_lines(comparison.asked, screen.console.width, marks_of(screen)), MARKER)
            rows = [row for row in rows if row.value != "all"]
            continue
        if chosen == "leave":
            return 0
        return _run(["ollama", "run", NAME] if chosen == "talk" else [sys.executable, str(ROOT / "train_to_ollama.py")])


def _entry(*flags: str) -> list[str]:
    return [sys.executable, str(ROOT / "train_to_ollama.py"), "--ollama_name", NAME, *flags]


def _run(words: Sequence[str], **more: str) -> int:
    with subprocess.Popen(words, env={**os.environ, **more}) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:  # the child hears Ctrl-C too, and says how to go on
                continue


def _marked(answers: Iterable[Answer | None]) -> int:
    return sum(answer is not None and MARKER.lower() in answer.text.lower() for answer in answers)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
