"""Files from elsewhere, mutated: `python -m tests.fuzz [KIND…] [--seed N] [--count N] [--only NUMBER]`.

Each case must be used, or refused with a UserError: never a traceback, never more than 2 GB, never without end. Exit
code 1 where one isn't; it is told with the words that repeat it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.kinds import KINDS, make_source
from tests.support.project import ROOT

SEED = 20261212
"""The default, so that a failure is the same everywhere."""


@dataclass
class Report:
    """What became of the cases: how often each outcome, and the faults by case number."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: dict[int, str] = field(default_factory=dict)


def fuzz(kind: str, seed: int, first: int, last: int, folder: Path) -> Report:
    """Use the cases `first` to `last` of a kind; `folder` has the good files in `source`."""
    report = Report()
    while first < last:
        begun = _child(kind, seed, first, last, folder, report)
        first = last if begun is None else begun + 1
    return report


def _child(kind: str, seed: int, first: int, last: int, folder: Path, report: Report) -> int | None:
    """One process; the case at which it died, or None where it came to its end."""
    command = [sys.executable, "-m", "tests.fuzz.child", kind, str(seed), str(first), str(last), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    begun: int | None = None
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=said) as child:
            assert child.stdout is not None
            for line in map(json.loads, child.stdout):
                if "begun" in line:
                    begun = line["begun"]
                    continue
                assert begun is not None
                report.outcomes[line.get("ok", "FAULT")] += 1
                if "fault" in line:
                    report.faults[begun] = line["fault"]
                begun = None
        said.seek(0)
        tail = said.read()[-2000:].decode("utf-8", "replace")
    if begun is None and child.returncode:
        raise RuntimeError(tail)
    if begun is not None:
        report.outcomes["DIED"] += 1
        report.faults[begun] = f"the process ended with {child.returncode}\n{tail}"
    return begun


def main(arguments: Sequence[str] | None = None) -> int:
    """Make, use, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; all where none is named")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--count", type=int, help="cases of each kind")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="one case alone")
    options = parser.parse_args(arguments)
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_source(folder / "source")
        for kind in options.kinds or KINDS:
            first, last = 0, options.count or KINDS[kind].count
            if options.only is not None:
                first, last = options.only, options.only + 1
            report = fuzz(kind, options.seed, first, last, folder)
            bad += len(report.faults)
            for number, fault in report.faults.items():
                sys.stdout.write(f"python -m tests.fuzz {kind} --seed {options.seed} --only {number}\n{fault}\n")
            told = ", ".join(f"{outcome} {count}" for outcome, count in report.outcomes.most_common())
            sys.stdout.write(
                f"{kind}, seed {options.seed}: {last - first} cases, {len(report.faults)} faults: {told}\n"
            )
            sys.stdout.flush()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
