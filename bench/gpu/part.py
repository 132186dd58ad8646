"""One part of the bench, in a process of its own: `python -m bench.gpu.part JSON`. It is started by parts.py.

Each result goes to stdout as a line of JSON as soon as it is known; whatever libraries print goes to stderr.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

Tell = Callable[[dict[str, Any]], None]


def look(tell: Tell, *, device: str | None, shapes: list[str], batch: int) -> None:
    """What there is: the device, what each shape needs, who can be measured; or why there is nothing."""
    from bench.gpu import card, contenders

    try:
        facts = card.look(device)
    except card.NoCard as error:
        tell({"no_card": str(error)})
        return
    needs = card.needs(shapes, facts["device"], batch)
    tell({"card": facts, "needs_gb": needs, "contenders": contenders.installed(facts["device"])})


def check(tell: Tell, *, names: list[str], device: str, tiny: bool, devices: int) -> None:
    """Checks, one after the other; one that breaks off in an unknown way ends the process, since CUDA may be broken."""
    from bench.gpu.checks.outcome import Failed, Skipped
    from bench.gpu.checks.setup import Setup
    from bench.gpu.checks.table import CHECKS
    from lora_trainer.models.load import silence_libraries

    silence_libraries()
    import peft  # noqa: F401
    import transformers.trainer  # noqa: F401

    # a collection takes a second where it looks through all that these have brought, and each training makes several
    gc.freeze()
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        setup = Setup(device, Path(folder), tiny, devices)
        for name in names:
            began = time.perf_counter()
            told: dict[str, Any] = {}
            try:
                outcome = CHECKS[name](setup)
            except Skipped as reason:
                told = {"state": "skipped", "words": str(reason)}
            except Failed as reason:
                told = {"state": "failed", "words": str(reason)}
            else:
                told = {"state": "passed" if outcome.passed else "failed", "words": outcome.words}
                told["figures"] = {
                    # JSON has no word for what isn't a number
                    name: {"figure": figure if isfinite(figure) else str(figure), "limit": limit}
                    for name, (figure, limit) in outcome.figures.items()
                }
            tell({"check": name, **told, "seconds": time.perf_counter() - began})


def measure(tell: Tell, **options: Any) -> None:
    """One contender."""
    from bench.gpu.measure import measure

    tell({"measure": measure(**options)})


def profile(tell: Tell, **options: Any) -> None:
    """One profiled step."""
    from bench.gpu.step_profile import profile

    tell({"profile": profile(**options)})


KINDS: dict[str, Callable[..., None]] = {"look": look, "check": check, "measure": measure, "profile": profile}


def main(asked: str) -> None:
    """Do what is asked for."""
    options = json.loads(asked)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as results:
        os.dup2(2, 1)

        def tell(result: dict[str, Any]) -> None:
            results.write(json.dumps(result) + "\n")
            results.flush()

        KINDS[options.pop("part")](tell, **options)


if __name__ == "__main__":
    main(sys.argv[1])
