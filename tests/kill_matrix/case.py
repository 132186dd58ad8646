"""One case: the program is struck at a point, looked at, started again by the same command and looked at again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass

from tests.kill_matrix.points import Point, Strike
from tests.kill_matrix.state import State, lost, other_files, repeated, unfinished, unnamed_files
from tests.kill_matrix.world import ANSWERS, REGISTERING, WAYS, Ran, World

WORDS = {5: "Ollama", 7: "disk", 130: "same command"}
"""Exit code (docs/exit-codes.md) -> what has to be spoken of."""
OFFERED = ("/checkpoints/", ".gguf")
"""What the clean-up offers, and takes only where it is ticked."""


@dataclass(frozen=True)
class Undisturbed:
    """A way's run that nothing befell: its points, what it comes to, and what is wrong with it already."""

    points: tuple[Point, ...]
    new: State
    faults: tuple[str, ...]


def undisturbed(place: World, way: str) -> Undisturbed:
    """Run a way once; a failure of it is an AssertionError."""
    before = place.restore(way)
    ran = place.run(WAYS[way], answers=ANSWERS.get(way, ""))
    assert ran.code == 0, ran.said
    new = place.state()
    faults = [*unfinished(before, new, new), *unnamed_files(new)]
    return Undisturbed(ran.points, new, tuple(faults))


def struck(place: World, way: str, strike: Strike, known: Undisturbed) -> tuple[int, list[str]]:
    """The exit code of the run that was struck, and all that is wrong with it or after the command's second run, but
    for what is so without a strike, too.
    """
    before = place.restore(way)
    answers = ANSWERS.get(way, "")
    first = place.run(WAYS[way], strike, answers)
    then = place.state()
    found = [*_spoken(strike, first), *lost(before, then, known.new)]
    # the same words would ask for one more training
    is_over = first.code == 0 or (then.is_over and then.statuses == known.new.statuses and way not in REGISTERING)
    steps = 0
    if not is_over:
        again = place.run(WAYS[way], answers=answers)
        steps = again.steps
        if again.code:
            found.append(f"the same command ends with {again.code}: {_last_words(again)}")
    found += _verified(place)
    if is_over and any(other_files(place.state(), known.new, but=OFFERED)):
        found += _tidied(place)
    now = place.state()
    found += [*repeated(then, now, known.new, steps), *unfinished(before, now, known.new)]
    found += other_files(now, known.new, but=OFFERED if is_over else ())
    return first.code, [fault for fault in dict.fromkeys(found) if fault not in known.faults]


def _spoken(strike: Strike, ran: Ran) -> Iterator[str]:
    """What is wrong with the exit code and the words."""
    allowed = {"kill": {-signal.SIGKILL}, "disk": {0, 7}, "server": {0, 5}}[strike.kind]
    if strike.how == "silence":
        allowed |= {130}
    if not ran.was_struck:
        yield "the strike didn't come"
    elif ran.code not in allowed:
        yield f"exit code {ran.code}: {_last_words(ran)}"
    elif WORDS.get(ran.code, "") not in ran.said:
        yield f"exit code {ran.code} without a word of the cause: {_last_words(ran)}"
    if "Traceback" in ran.said:
        yield "a traceback is shown"


def _tidied(place: World) -> Iterator[str]:
    """Of a run that is over nobody misses its page, or what was half written, before asking for it."""
    for flags in (["--report"], ["--clean", "--yes"]):
        ran = place.run(flags)
        if ran.code:
            yield f"{flags[0]} ends with {ran.code}: {_last_words(ran)}"


def _verified(place: World) -> Iterator[str]:
    ran = place.run(["--verify"])
    if ran.code:
        yield f"--verify ends with {ran.code}: {_last_words(ran)}"


def _last_words(ran: Ran) -> str:
    lines = [line.strip() for line in ran.said.splitlines() if line.strip()]
    return " / ".join(lines[-3:])
