"""One case: the program is struck at a point, looked at, started again by the same command and looked at again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass

from tests.kill_matrix.points import Point, Strike
from tests.kill_matrix.state import State, lost, other_files, repeated, unfinished, unnamed_files
from tests.kill_matrix.world import WAYS, Ran, World

WORDS = {5: "Ollama", 7: "disk", 130: "same command"}
"""Exit code (docs/exit-codes.md) -> what has to be spoken of."""


@dataclass(frozen=True)
class Undisturbed:
    """A way's run that nothing befell: its points, what it comes to, and what is wrong with it already."""

    points: tuple[Point, ...]
    new: State
    faults: tuple[str, ...]


def undisturbed(place: World, way: str) -> Undisturbed:
    """Run a way once; a failure of it is an AssertionError."""
    before = place.restore(way)
    ran = place.run(WAYS[way])
    assert ran.code == 0, ran.said
    new = place.state()
    faults = [*unfinished(before, new, new), *unnamed_files(new), *_verified(place)]
    return Undisturbed(ran.points, new, tuple(faults))


def faults_of(place: World, way: str, strike: Strike, known: Undisturbed) -> list[str]:
    """All that is wrong after a strike and the command's second run, but for what is so without a strike, too."""
    before = place.restore(way)
    struck = place.run(WAYS[way], strike)
    then = place.state()
    found = [*_spoken(strike, struck), *lost(before, then, known.new)]
    if strike.point not in struck.points:
        found.append("the point was not reached")
    begun_and_done = then.is_done and then.statuses == known.new.statuses and way != "register"
    if struck.code == 0 or begun_and_done:
        # the same words would ask for one more training
        now = then
    else:
        again = place.run(WAYS[way])
        now = place.state()
        if again.code:
            found.append(f"the same command ends with {again.code}: {_last_words(again)}")
        found += repeated(then, now, again.steps)
    found += [*unfinished(before, now, known.new), *other_files(now, known.new), *_verified(place)]
    return [fault for fault in dict.fromkeys(found) if fault not in known.faults]


def _spoken(strike: Strike, ran: Ran) -> Iterator[str]:
    """What is wrong with the exit code and the words."""
    allowed = {"kill": {-signal.SIGKILL}, "disk": {0, 7}, "server": {0, 5}}[strike.kind]
    if strike.how == "silence":
        allowed |= {130}
    if ran.code not in allowed:
        yield f"exit code {ran.code}: {_last_words(ran)}"
    elif WORDS.get(ran.code, "") not in ran.said:
        yield f"exit code {ran.code} without a word of the cause: {_last_words(ran)}"
    if "Traceback" in ran.said:
        yield "a traceback is shown"


def _verified(place: World) -> Iterator[str]:
    ran = place.run(["--verify"])
    if ran.code:
        yield f"--verify ends with {ran.code}: {_last_words(ran)}"


def _last_words(ran: Ran) -> str:
    lines = [line.strip() for line in ran.said.splitlines() if line.strip()]
    return " / ".join(lines[-3:])
