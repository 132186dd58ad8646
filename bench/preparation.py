"""Seconds and memory that the preparation of data sets of growing size takes, up to the first step of the training.

    python -m bench.preparation [--data DIR] [--model smollm2|FOLDER|FILE.gguf] [--rows 1 5 50 500 5000 50000]

Multiplies the rows of a real data set into as many different ones, and lets the real program do all that comes before
the training: read, check, split, tokenise, choose proofs, rehearse the export, begin a record; then plans every step.
With `--steps`, some steps are really made, of as many dialogues whatever the size. Each size in a process of its own.
Prints one JSON line for each size: seconds of the parts and of the whole (`cpu`: of all threads), and the peak memory
of the process, in MB, above what it had with its libraries loaded. `training_megabytes` is what it has after its last
step, above the same; `python_blocks` how many objects Python holds then.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from lora_trainer.events import Check, Event, StepDone


def main() -> int:
    """Measure, or (with --folder) be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data", help="folder with train.jsonl")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 5, 50, 500, 5000, 50_000])
    parser.add_argument("--steps", type=int, default=0, help="optimizer steps of the training to make")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        sys.stdout.write(json.dumps(measure(options.folder, options.model, options.steps)) + "\n")
        return 0
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            multiply(Path(options.data) / "train.jsonl", rows, Path(folder) / "train.jsonl")
            flags = ["--model", options.model, "--steps", str(options.steps), "--folder", folder]
            command = [sys.executable, "-m", "bench.preparation", *flags]
            done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True)
            sys.stdout.write(json.dumps({"rows": rows, **json.loads(done.stdout)}) + "\n")
            sys.stdout.flush()
    return 0


def multiply(source: Path, rows: int, out: Path) -> None:
    """Write `rows` different rows: those of a file of `messages`, over and over, each turn numbered anew."""
    lines = [line for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
    with out.open("w", encoding="utf-8") as file:
        for number in range(rows):
            row = json.loads(lines[number % len(lines)])
            for message in row["messages"]:
                if message["role"] != "system":
                    message["content"] += f" {number}"
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def measure(folder: Path, model: str, steps: int) -> dict[str, Any]:
    """One size: the program as its command line starts it, stopped before or in its training."""
    import torch

    from bench.real_base import source_of
    from lora_trainer.engine.schedule import step_dialogues
    from lora_trainer.errors import Interrupted
    from lora_trainer.models.load import silence_libraries
    from pipeline.run.history import History
    from wizard.command_line import parse
    from wizard.run import run
    from wizard.screen.screen import Screen

    silence_libraries()
    for library in ("peft", "datasets", "transformers.trainer"):
        __import__(library)
    os.environ["TRAIN_TO_OLLAMA_HOME"] = str(folder / "runs")
    base = source_of(model)
    before, resident = _peak(), _resident()
    began = last = time.perf_counter()
    cpu = time.process_time()
    seconds: dict[str, float] = {}
    done = 0

    class Clock(Screen):
        def listen(self, event: Event) -> None:
            """The time since the check before goes to the one that ends."""
            nonlocal done, last
            done += isinstance(event, StepDone)
            if isinstance(event, StepDone) and done == steps:
                gc.collect()
                told["training_megabytes"] = round(_resident() - resident, 1)
                told["python_blocks"] = sys.getallocatedblocks()
            if isinstance(event, Check):
                name = event.name if event.state != "running" else "between"
                seconds["read" if not seconds else name] = seconds.get(name, 0) + time.perf_counter() - last
                last = time.perf_counter()

    def stop() -> bool:
        if not done:
            told.setdefault("seconds", round(time.perf_counter() - began, 2))
            told.setdefault("cpu", round(time.process_time() - cpu, 2))
            told.setdefault("megabytes", round(_peak() - before))
        return done >= steps

    told: dict[str, Any] = {}
    flags = ["--ollama_name", "bench", "--base_model", base, "--data_dir", str(folder), "--no_register", "--yes"]
    flags += ["--batch_size", "8"]
    with suppress(Interrupted):
        run(parse(flags), Clock(to_stderr=True, quiet=True), stop)
    newest = History(folder / "runs").newest("bench")
    assert newest is not None
    planned = time.perf_counter()
    dialogues = newest.record["data"]["rows"]
    for step in range(newest.plan.total_steps(dialogues)):
        step_dialogues(newest.plan, step, dialogues)
    seconds["plan_steps"] = time.perf_counter() - planned
    told |= {name: round(taken, 2) for name, taken in seconds.items() if taken >= 0.005}
    return {**told, "threads": torch.get_num_threads()}


def _peak() -> float:
    """Most memory that this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _resident() -> float:
    """Memory that this process has now, in MB."""
    import psutil

    return psutil.Process().memory_info().rss / 1e6


if __name__ == "__main__":
    sys.exit(main())
