"""Whether a loop of trainings in a shell has become slower: this checkout against an older commit.

    python -m bench.shell_loop OLD [--rounds 5] [--runs 3]

OLD is a commit of this repository; its files are taken out into a temporary folder. A loop is what README shows for
scripts: `--runs` trainings of a tiny model with ranks of their own, one after the other, `--yes --json`, without a
terminal and without Ollama. Each round climbs through three loops in turn: the old commit's, this checkout's, and the
old commit's once more. Prints wall and CPU seconds (of the loop and all its children) of each: whether this checkout is
slower is told by how far the old commit is from itself. POSIX only.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from tests.support.program import NO_OLLAMA, Program

ROOT = Path(__file__).resolve().parents[1]
LOOP = """set -e
for rank in {ranks}; do
  "$PYTHON" "$CHECKOUT"/train_to_ollama.py --ollama_name zzhua-r$rank --base_model "$BASE" --data_dir "$DATA" \\
    --lora_rank $rank --epochs 2 --no_register --yes --on_exists overwrite --json </dev/null
done
"""
NAMES = ("old", "new", "old again")
Taken = tuple[float, float]
"""Wall and CPU seconds."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        old = taken_out(options.old, Path(folder) / "old")
        program = Program(Path(folder))
        checkouts = dict(zip(NAMES, (old, ROOT, old), strict=True))
        for checkout in (old, ROOT):
            loop(checkout, program, options.runs)  # compiles, and fills caches
        rounds = [{name: loop(checkouts[name], program, options.runs) for name in NAMES} for _ in range(options.rounds)]
    sys.stdout.write(table(rounds))
    return 0


def taken_out(commit: str, folder: Path) -> Path:
    """A commit's files in a folder of their own."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def loop(checkout: Path, program: Program, runs: int) -> Taken:
    """The time of one loop, with runs in a home of its own."""
    ranks = " ".join(str(2 << at) for at in range(runs))
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            "TRAIN_TO_OLLAMA_HOME": home,
            "OLLAMA_HOST": NO_OLLAMA,
            "HF_HUB_OFFLINE": "1",
            "PYTHON": sys.executable,
            "CHECKOUT": str(checkout),
            "BASE": str(program.base),
            "DATA": str(program.data),
        }
        environment.pop("PYTHONPATH", None)
        before, began = _cpu_seconds(), time.perf_counter()
        command = ["bash", "-c", LOOP.format(ranks=ranks)]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        return time.perf_counter() - began, _cpu_seconds() - before


def _cpu_seconds() -> float:
    """User and system time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(rounds: list[dict[str, Taken]]) -> str:
    """A line a round and the medians, in Markdown."""
    lines = [
        "| round | " + " | ".join(f"{name}: wall s | CPU s" for name in NAMES) + " |",
        "|---" + "|---:" * (2 * len(NAMES)) + "|",
    ]
    medians = {
        name: tuple(statistics.median(taken[name][part] for taken in rounds) for part in range(2)) for name in NAMES
    }
    for number, taken in [*enumerate(rounds, 1), ("median", medians)]:
        cells = " | ".join(f"{wall:.1f} | {cpu:.1f}" for wall, cpu in (taken[name] for name in NAMES))
        lines.append(f"| {number} | {cells} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
