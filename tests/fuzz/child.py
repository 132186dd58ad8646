"""The process in which cases are used, within limits: `python -m tests.fuzz.child KIND SEED FIRST LAST FOLDER`.

`FOLDER/source` has the good files. One line of JSON for each case goes to stdout: {"begun": number}, then {"ok": what}
or {"fault": traceback}. A case that takes too much memory or time ends the process.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from pathlib import Path
from random import Random

from lora_trainer.errors import UserError
from tests.fuzz.kinds import KINDS, said

MEMORY = 2 << 30
"""Bytes that it may write to. Of address space libraries and what threads only reserve take nearly as much."""
SECONDS = 60
"""Of the processor, for one case: any would be done in a few."""


def limit_memory() -> None:
    """Let allocations fail from MEMORY on, where the system can do so."""
    if os.name == "posix":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def limit_time() -> None:
    """End this process when the case that begins now has taken SECONDS."""
    if os.name == "posix":
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + SECONDS, resource.RLIM_INFINITY))


def outcome(kind: str, seed: int, number: int, folder: Path) -> dict[str, str]:
    """Make a case and use it."""
    # what was read of one case is not to be remembered for the next
    case = folder / f"{kind}-{number}"
    case.mkdir()
    try:
        KINDS[kind].mutate(folder / "source", case, Random(f"{seed} {kind} {number}"))
        KINDS[kind].use(case)
    except UserError as error:
        return {"ok": said(error)}
    finally:
        shutil.rmtree(case, ignore_errors=True)
    return {"ok": "used"}


def main(kind: str, seed: str, first: str, last: str, folder: str) -> None:
    """Go through the cases."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**line: object) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    limit_memory()
    for number in range(int(first), int(last)):
        say(begun=number)
        limit_time()
        try:
            say(**outcome(kind, int(seed), number, Path(folder)))
        except Exception:
            say(fault=traceback.format_exc())


if __name__ == "__main__":
    main(*sys.argv[1:])
