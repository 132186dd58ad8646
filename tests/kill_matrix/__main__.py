"""Is anything lost? `python -m tests.kill_matrix [--way WAY] [--kind KIND] [--sample N] [--seed N] [--only TEXT]`

Each way to publish, or to decide against it, is run once and traced: every request to Ollama, before it is sent and
after its answer, and every change of a file is a point. Then, case by case, the program is killed there, its disk is
full from there on, or Ollama fails there; what a user has must all be there, and the same command must finish the work.
One line a case; exit code 1 where one failed, or a way has fewer than 40 points to be killed at.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.kill_matrix.case import Undisturbed, struck, undisturbed
from tests.kill_matrix.points import KINDS, Strike, strikes
from tests.kill_matrix.world import WAYS, World, world

FEWEST_POINTS = 40
KINDS_OF = dict.fromkeys(("decline", "waiting", "declined"), ("kill",))
"""Way -> what strikes it, where that isn't everything: nothing of their publishing is their own."""
SEED = 12
Case = tuple[str, Strike]


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def sampled(cases: Sequence[Case], count: int, seed: int) -> list[Case]:
    """`count` cases by chance, of every way and kind as many."""
    chance = random.Random(seed)
    groups: dict[tuple[str, str], list[Case]] = {}
    for way, strike in chance.sample(cases, len(cases)):
        groups.setdefault((way, strike.kind), []).append((way, strike))
    rows = sorted(groups.items())
    longest = max((len(group) for _, group in rows), default=0)
    return [group[turn] for turn in range(longest) for _, group in rows if turn < len(group)][:count]


def main(arguments: Sequence[str] | None = None) -> int:
    """Trace, strike, look; one line for each case."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill_matrix", description=__doc__)
    parser.add_argument("--way", choices=WAYS, help="only this way to publish")
    parser.add_argument("--kind", choices=KINDS, help="; ".join(f"{kind}: {what}" for kind, what in KINDS.items()))
    parser.add_argument("--sample", type=int, metavar="N", help="only so many cases, by chance")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help=f"of the sample, default {SEED}")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases with this in their line")
    parser.add_argument("--list", action="store_true", help="only list them")
    options = parser.parse_args(arguments)
    ways = [options.way] if options.way else list(WAYS)
    kinds = [options.kind] if options.kind else list(KINDS)
    with world() as place:
        traced = {way: undisturbed(place, way) for way in ways}
        bad = sum(_told_of_undisturbed(way, traced[way]) for way in ways)
        cases = [
            (way, strike)
            for way in ways
            for kind in kinds
            if options.kind or kind in KINDS_OF.get(way, KINDS)
            for strike in strikes(traced[way].points, kind)
        ]
        cases = [case for case in cases if options.only in f"{case[0]}: {case[1]}"]
        if options.sample is not None:
            say(f"{min(options.sample, len(cases))} of {len(cases)} cases by seed {options.seed}")
            cases = sampled(cases, options.sample, options.seed)
        if options.list:
            say("\n".join(f"{way}: {strike}" for way, strike in cases))
            return 0
        bad += _run(place, cases, traced)
    return 1 if bad or not cases else 0


def _told_of_undisturbed(way: str, run: Undisturbed) -> bool:
    """Say how many points a way has, and what is wrong with it without any strike; whether something is."""
    count = len(strikes(run.points, "kill"))
    faults = [*run.faults, *([f"fewer than {FEWEST_POINTS}"] if count < FEWEST_POINTS else [])]
    say(f"{'FAILED' if faults else 'ok'} {way}: undisturbed, {count} points to be killed at{_list(faults)}")
    return bool(faults)


def _run(place: World, cases: Sequence[Case], traced: dict[str, Undisturbed]) -> int:
    """How many cases failed."""
    failed = 0
    kinds_of_faults = Counter[str]()
    for way, strike in cases:
        began = time.monotonic()
        code, faults = struck(place, way, strike, traced[way])
        failed += bool(faults)
        kinds_of_faults.update(faults)
        seconds = time.monotonic() - began
        say(f"{'FAILED' if faults else 'ok'} {way}: {strike}: exit code {code} [{seconds:.1f} s]{_list(faults)}")
    for fault, count in kinds_of_faults.most_common():
        say(f"{count} x {fault}")
    say(f"{len(cases) - failed} of {len(cases)} cases lose nothing and are finished by the same command")
    return failed


def _list(faults: Sequence[str]) -> str:
    return "".join(f"\n    {fault}" for fault in faults)


if __name__ == "__main__":
    sys.exit(main())
