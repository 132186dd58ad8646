"""Does the suite bite? `python -m tests.mutants [PATTERN…] [--list] [--part 1/2]`

Plants every bug of the tables beside this file, one after the other, in a copy of the checkout, and runs the tests that
are to notice it. Exit code 1 where a bug survives, or its place is no longer there.
"""

from __future__ import annotations

import argparse
import compileall
import importlib
import os
import pkgutil
import py_compile
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import tests.mutants
from tests.mutants.mutant import Moved, Mutant
from tests.support.project import ROOT

LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache")
SECONDS = 900
"""No killing test takes longer."""
PATIENCE = 100
"""Seconds that a terminal's words are waited for: many a bug is seen by their not coming."""


def left_out(folder: str, names: list[str]) -> set[str]:
    """What of a folder isn't copied: not the user's own runs, but those among the tests' data are."""
    return LEFT_OUT(folder, names) | ({"runs"} if Path(folder) == ROOT else set())


def all_mutants() -> list[Mutant]:
    """Every bug of every table, a table in each module of this package."""
    modules = (
        importlib.import_module(f"tests.mutants.{found.name}") for found in pkgutil.iter_modules(tests.mutants.__path__)
    )
    return [mutant for module in modules for mutant in getattr(module, "MUTANTS", ())]


def run_tests(root: Path, names: Sequence[str]) -> int:
    """pytest's exit code: 0 all passed, 1 some failed."""
    # no new bytecode: two versions of a file may have the same size and second
    once = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "TEST_PATIENCE": str(PATIENCE)}
    environment = {**os.environ, **once}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *names]
    return subprocess.run(
        command, cwd=root, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS
    ).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant, run, restore; one line for each bug."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="only bugs with this in their name or file")
    parser.add_argument("--list", action="store_true", help="only list them")
    parser.add_argument(
        "--part", default="1/1", metavar="K/N", help="only each Nth, from the Kth on: for several cores"
    )
    options = parser.parse_args(arguments)
    first, step = map(int, options.part.split("/"))
    chosen = [
        mutant
        for mutant in all_mutants()
        if not options.patterns or any(p in mutant.name or p in mutant.file for p in options.patterns)
    ][first - 1 :: step]
    if options.list:
        sys.stdout.write("".join(f"{mutant.file}: {mutant.name}\n" for mutant in chosen))
        return 0
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "mutants"
        shutil.copytree(ROOT, root, ignore=left_out)
        # what was compiled is known by its source, not by its size and second
        compileall.compile_dir(root, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
        names = sorted({test for mutant in chosen for test in mutant.tests})
        if run_tests(root, names) != 0:
            sys.stdout.write("the tests fail without any bug\n")
            return 1
        for mutant in chosen:
            began = time.monotonic()
            try:
                before = mutant.plant(root)
            except Moved as moved:
                verdict = f"NOT THERE: {moved}"
            else:
                code = run_tests(root, mutant.tests)
                (root / mutant.file).write_text(before, encoding="utf-8", newline="\n")
                verdict = {0: "SURVIVED", 1: "killed"}.get(code, f"NOT TESTED (pytest's exit code {code})")
            bad += verdict != "killed"
            sys.stdout.write(f"{verdict}: {mutant.name} [{time.monotonic() - began:.0f} s]\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen) - bad} of {len(chosen)} killed\n")
    return 1 if bad or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
