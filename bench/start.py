"""What it takes until the program answers, against `python -c pass`.

    python -m bench.start [--rounds 9] [--runs 50] [--models 10]

Measured, of a second start: the front page with some recorded runs until its question stands on a pseudo-terminal, the
same through quick_start.sh, the wizard's first question, `--help`, and `--history` with these runs. Each round starts
each of them once, in turn, beside `python -c pass` on the same kind of terminal or pipe; a first round, which compiles
and fills caches, isn't counted. Prints one table: the medians of wall and CPU seconds (the process and its children,
user and system), and their ratios to `python -c pass`. POSIX only.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PASS = ["-c", "pass"]
ON_A_TERMINAL = ("front page", "quick_start.sh", "first question")
STEPS = 200
"""Of each recorded run: what some epochs of some hundred dialogues take."""
Taken = tuple[float, float]
"""Wall and CPU seconds."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--runs", type=int, default=50, help="recorded runs of all models together")
    parser.add_argument("--models", type=int, default=10, help="models that have them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        record_runs(Path(folder) / "many", options.runs, options.models)
        measured = measure(options.rounds, many=Path(folder) / "many", none=Path(folder) / "none")
    sys.stdout.write(f"{'':<26}{'wall s':>9}{'ratio':>8}{'CPU s':>9}{'ratio':>8}\n")
    for name, rounds in measured.items():
        base = measured["python -c pass, terminal" if name in ON_A_TERMINAL else "python -c pass"]
        (wall, cpu), (wall_base, cpu_base) = medians(rounds), medians(base)
        sys.stdout.write(f"{name:<26}{wall:>9.3f}{wall / wall_base:>8.1f}{cpu:>9.3f}{cpu / cpu_base:>8.1f}\n")
    return 0


def record_runs(home: Path, count: int, models: int) -> None:
    """Records such as trainings leave them, in turn for each of the models."""
    from lora_trainer.plan import TrainPlan
    from pipeline.run.history import History

    history = History(home)
    proofs = [{"prompt": "<|im_start|>user\n" + "问" * 300, "tokens": 120}] * 8
    data = {"train_file": "data/train.jsonl", "files": {"data/train.jsonl": {"rows": 87}}, "rows": 87}
    for number in range(count):
        given = {"plan": TrainPlan().to_json(), "request": {}, "base": {"source": "a/base"}, "strategy": None}
        run = history.begin(f"model-{number % models}", data=data, proofs=proofs, **given)
        losses = [[step, 1.0] for step in range(STEPS)]
        run.mark_done("train", 1, training={"losses": losses, "val_losses": losses[:: STEPS // 10]})
        published = {"digest": f"{number:064x}", "gguf": "0" * 64, "backup": None, "finished": run.record["created"]}
        run.update(status="done", publications=[{**published, "order": number}])


def measure(rounds: int, many: Path, none: Path) -> dict[str, list[Taken]]:
    """Name -> what each round took; `many` and `none` are homes with and without recorded runs."""
    program = str(ROOT / "train_to_ollama.py")
    contenders: dict[str, Callable[[], None]] = {
        "python -c pass": lambda: run(PASS, none),
        "--help": lambda: run([program, "--help"], none),
        "--history": lambda: run([program, "--history"], many),
        "python -c pass, terminal": lambda: see(PASS, none, ""),
        "front page": lambda: see(["-m", "wizard.home"], many, "Your choice:"),
        "quick_start.sh": lambda: see([str(ROOT / "quick_start.sh")], many, "Your choice:", "bash"),
        "first question": lambda: see([program, "--no_register"], none, "Which dialogues"),
    }
    measured: dict[str, list[Taken]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, work in contenders.items():
            cpu, began = children(), time.perf_counter()
            work()
            if number:
                measured[name].append((time.perf_counter() - began, children() - cpu))
    return measured


def run(arguments: list[str], home: Path) -> None:
    """Start Python with `arguments` on pipes and wait for its end."""
    command = [sys.executable, *arguments]
    subprocess.run(command, env=environment(home), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)


def see(arguments: list[str], home: Path, text: str, program: str = sys.executable) -> None:
    """Start Python (or another program) on a terminal, and end it once `text` stands there (empty: at its end)."""
    import pexpect

    size = (24, 80)
    with pexpect.spawn(
        program, arguments, env=environment(home), cwd=str(ROOT), encoding="utf-8", dimensions=size, timeout=60
    ) as child:
        child.ptyproc.delayafterclose = child.ptyproc.delayafterterminate = 0
        child.expect_exact(text or pexpect.EOF)
        if text:
            child.kill(9)
        child.wait()


def environment(home: Path) -> dict[str, str]:
    """A home, and what makes the program speak English and ask the terminal nothing."""
    said = {"TRAIN_TO_OLLAMA_HOME": str(home), "TRAIN_TO_OLLAMA_LANG": "en", "OLLAMA_HOST": "127.0.0.1:9"}
    said |= {"TRAIN_TO_OLLAMA_PYTHON": sys.executable}
    # a second start finds what the first one has compiled
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, **said, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}


def children() -> float:
    """CPU seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def medians(rounds: list[Taken]) -> Taken:
    """The medians of wall and CPU seconds."""
    return statistics.median(wall for wall, _ in rounds), statistics.median(cpu for _, cpu in rounds)


if __name__ == "__main__":
    sys.exit(main())
