"""Seconds and memory that the data desk takes for a large file, against reading it with the json module.

    python -m bench.data_desk [--data DIR] [--rows 50000]

Multiplies the rows of a real data set into as many different ones, every tenth of them nearly the same as the one
before. Each part in a process of its own: the statistics, rows that are nearly the same alone, an import of the file,
mending it with a superfluous comma in every hundredth row.
Prints one JSON line for each part: seconds, `ratio` (of the seconds to those of reading the file with the json module
in that process), and `megabytes`, the peak memory of the process above what it had with its libraries loaded.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> int:
    """Measure, or (with --folder) be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data", help="folder with train.jsonl")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--part", choices=tuple(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        sys.stdout.write(json.dumps(measure(options.part, options.folder)) + "\n")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        multiply(Path(options.data) / "train.jsonl", options.rows, Path(folder) / "train.jsonl")
        for part in PARTS:
            command = [sys.executable, "-m", "bench.data_desk", "--part", part, "--folder", folder]
            done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True)
            sys.stdout.write(json.dumps({"part": part, "rows": options.rows, **json.loads(done.stdout)}) + "\n")
            sys.stdout.flush()
    return 0


def multiply(source: Path, rows: int, out: Path) -> None:
    """Write `rows` rows: those of a file of `messages`, over and over, each turn with characters of its own in it.

    Every tenth has the turns of the one before with one character more.
    """
    lines = [line for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
    row: dict[str, Any] = {}
    with out.open("w", encoding="utf-8") as file:
        for number in range(rows):
            if number % 10 or not number:
                row = json.loads(lines[number % len(lines)])
                for at, message in enumerate(row["messages"]):
                    if message["role"] != "system":
                        message["content"] = own_words(message["content"], number * 31 + at)
            else:
                row["messages"][-1]["content"] += "呀"
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def own_words(text: str, number: int) -> str:
    """The text with every second character exchanged for one that depends on the number, so that no two are alike."""
    other = (chr(0x4E00 + (number * 7919 + at * 104729) % 20000) for at in range(len(text)))
    return "".join(own if at % 2 else new for at, (own, new) in enumerate(zip(text, other, strict=True)))


def measure(part: str, folder: Path) -> dict[str, Any]:
    """One part, with what it came to."""
    from data_desk.counting import near
    from pipeline import imports
    from pipeline.desk import files

    assert near.can_be_found() and files and imports
    file = folder / "train.jsonl"
    began = time.perf_counter()
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            json.loads(line)
    reading = time.perf_counter() - began
    before = peak()
    began = time.perf_counter()
    found = PARTS[part](folder)
    seconds = time.perf_counter() - began
    return {
        **found,
        "seconds": round(seconds, 2),
        "ratio": round(seconds / reading, 1),
        "megabytes": round((peak() - before) / 1024),
    }


def peak() -> int:
    """The most memory that this process has had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)


def _statistics(folder: Path) -> dict[str, Any]:
    from pipeline.desk.files import files_in, open_files

    found = open_files(files_in(folder)).statistics
    return {"answers": found.answers, "near": len(found.near or ())}


def _near(folder: Path) -> dict[str, Any]:
    from data_desk.counting.near import near_groups
    from data_desk.statistics import words_of
    from pipeline.desk.files import files_in, open_files

    groups = near_groups([words_of(dialogue) for dialogue in open_files(files_in(folder)).train])
    return {"near": len(groups)}


def _import(folder: Path) -> dict[str, Any]:
    from data_desk.desk import gather
    from data_desk.privacy.stand_ins import StandIns
    from pipeline.imports import Choices, add, look

    found, _ = look([folder / "train.jsonl"])
    written = add(gather(found, Choices(), StandIns(())).dialogues, folder / "imported")
    return {"added": written.added}


def _mend(folder: Path) -> dict[str, Any]:
    from pipeline.mending import look, write

    broken = folder / "broken.jsonl"
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    faulty = (line if number % 100 else f"{line}," for number, line in enumerate(lines))
    broken.write_text("".join(f"{line}\n" for line in faulty), encoding="utf-8")
    mended = look([broken])
    write(mended)
    return {"mended": sum(len(each.changes) for each in mended)}


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "statistics": _statistics,
    "near": _near,
    "import": _import,
    "mend": _mend,
}

if __name__ == "__main__":
    sys.exit(main())
