"""`python -m tests.support.scripted_part JSON`: in place of a part of the bench, what SCRIPT has for it.

SCRIPT is a JSON file: kind of part -> results. A text is said on stderr, and the process breaks off with it.
A part that checks gives the results of the checks that it is asked for; one that measures, that of its contender.
Where SCRIPT names a file as "seen", each part writes there what it is and which cards it sees.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main(asked: str) -> None:
    """Give the results, in order."""
    options = json.loads(asked)
    script = json.loads(Path(os.environ["SCRIPT"]).read_text(encoding="utf-8"))
    kind = options["part"]
    if "seen" in script:
        with Path(script["seen"]).open("a", encoding="utf-8") as file:
            file.write(f"{kind} {os.environ['CUDA_VISIBLE_DEVICES']}\n")
    if kind == "check":
        results = [script["check"].get(name, {"check": name, "state": "passed"}) for name in options["names"]]
    elif kind == "measure":
        results = [script["measure"][options["contender"]]]
    else:
        results = script[kind]
    for result in results:
        if result == "hang":
            time.sleep(3600)
        if isinstance(result, str):
            sys.exit(result)
        if kind == "measure":
            result = {"measure": {name: options[name] for name in ("shape", "batch", "contender")} | result}
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
