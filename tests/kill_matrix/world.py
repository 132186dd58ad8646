"""The place where the cases happen: a home, an Ollama and the program, put back before every case."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ollama_export.server.client import OllamaClient
from pipeline.run.corrections import Correction, put_right
from tests.kill_matrix.inside import Orders
from tests.kill_matrix.points import TEMPORARY, Point, Strike
from tests.kill_matrix.state import HAND_MADE, NAME, STANDS, State, state_of
from tests.ollama_server.server import OllamaServer
from tests.support.preloaded import Preloaded
from tests.support.program import Program

CONTINUING = ("--continue_train", "--add_epochs", "1", "--yes")
WAYS: dict[str, tuple[str, ...]] = {
    "new": ("--epochs", "1"),
    "continue": CONTINUING,
    "overwrite": ("--force", "--yes", "--epochs", "1"),
    "register": ("--register_only", "--temperature", "0.5"),
    "decline": CONTINUING[:-1],
    "waiting": CONTINUING,
    "declined": ("--register_only", "--run", "2"),
}
"""The four ways to publish, of which the second learns what was corrected, too; somebody who trains and keeps the old
model; and to publish what waits to be decided about, or was declined. All but the first begin where a run of ours
stands under the name, of which an answer was put right.
"""
STARTS = {"new": "bare", "waiting": "waiting", "declined": "declined"}
"""Way -> what there is before; all others begin where the model stands."""
ANSWERS = {"decline": "decline"}
"""Way -> what somebody wants who is asked; the others are scripts."""
REGISTERING = ("register", "declined")
"""Ways that train nothing, so that the same words ask for no further training."""


@dataclass(frozen=True)
class Ran:
    """One start of the program: its exit code, what it said, and what its processes were seen to do."""

    code: int
    said: str
    was_struck: bool
    points: tuple[Point, ...]
    steps: int
    """Steps that it trained."""


class World:
    """Put back with `restore`; `run` is the real program. Use `world()`."""

    def __init__(self, folder: Path, server: OllamaServer, program: Program, preloaded: Preloaded) -> None:
        self.folder, self.server, self.program, self.preloaded = folder, server, program, preloaded
        self.client = OllamaClient(server.url)
        self.before: dict[str, State] = {}

    def run(self, flags: Sequence[str], strike: Strike | None = None, answers: str = "") -> Ran:
        """Run the program, struck or not; `answers`: what somebody wants who is asked."""
        trace, full = self.folder / "trace", self.folder / "full"
        for file in (trace, full):
            file.unlink(missing_ok=True)
        asked, befallen = asdict(strike) if strike else None, lambda: False
        orders = Orders(str(trace), str(self.program.folder), self.server.port, str(full), asked, answers)
        if strike and strike.kind == "server":
            method, path = strike.point.what.split()
            kind = {"silence": "hold"}.get(strike.how, strike.how)
            fault = self.server.faults.add(kind, path.rstrip("*"), strike.point.nth, method=method)
            befallen = fault.befallen.is_set
        code = self.preloaded.run_words(orders.words(), self.words(flags))
        self.server.faults.clear()
        was_struck = code == -signal.SIGKILL or full.exists() or befallen()
        full.unlink(missing_ok=True)
        lines = [json.loads(line) for line in trace.read_text(encoding="utf-8").splitlines()]
        points = tuple(Point(**line["point"]) for line in lines if "point" in line)
        steps = sum(line.get("event") == "StepDone" for line in lines)
        return Ran(code, self.program.output(), was_struck, points, steps)

    def words(self, flags: Sequence[str]) -> list[str]:
        """The command line."""
        name = ["--ollama_name", NAME]
        if "--epochs" in flags or "--add_epochs" in flags:
            name += ["--base_model", str(self.program.base), "--data_dir", str(self.program.data)]
        return [*name, *flags]

    def state(self) -> State:
        """What there is now."""
        return state_of(self.client, self.program.history.home)

    def keep(self, start: str) -> None:
        """Keep what there is as a start for cases."""
        self.before[start] = self.state()
        for kept, place in self._places(start):
            shutil.copytree(place, kept)

    def restore(self, way: str) -> State:
        """Put back what a way starts from; what that is."""
        start = STARTS.get(way, "standing")
        self.server.runners.unload()
        for kept, place in self._places(start):
            shutil.rmtree(place)
            shutil.copytree(kept, place)
        shutil.rmtree(self.program.folder / TEMPORARY)
        (self.program.folder / TEMPORARY).mkdir()
        return self.before[start]

    def _places(self, start: str) -> Iterator[tuple[Path, Path]]:
        for place in (self.program.history.home, self.server.models):
            yield self.folder / start / place.name, place


@contextmanager
def world() -> Iterator[World]:
    """A world with a model of ours under the name, its backup, and models that somebody made by hand."""
    with tempfile.TemporaryDirectory(prefix="kill-matrix-") as name:
        folder = Path(name).resolve()
        with OllamaServer(folder / "models") as server:
            program = Program(folder / "program", server.url, rows=4)
            (program.folder / TEMPORARY).mkdir()
            program.environment["TMPDIR"] = str(program.folder / TEMPORARY)
            with Preloaded(program) as preloaded:
                found = World(folder, server, program, preloaded)
                _publish_twice(found)
                for start, answers in (("waiting", "wait"), ("declined", "decline")):
                    found.restore("continue")
                    ran = found.run(WAYS["decline"], answers=answers)
                    assert ran.code == 0 and found.state().statuses[2] == start, ran.said
                    found.keep(start)
                yield found


def _publish_twice(place: World) -> None:
    for flags in (WAYS["new"], ("--register_only", "--temperature", "0.7")):
        ran = place.run(flags)
        assert ran.code == 0, ran.said
    put_right(place.program.history, NAME, Correction(({"role": "user", "content": "在干嘛？"},), "在看书。", "it…"))
    client = place.client
    for number, name in enumerate(HAND_MADE):
        client.create(name, from_=NAME, system=f"made by hand: {number}")
    place.keep("standing")
    for name in place.state().models:
        if name == STANDS or (name in place.state().backups and name not in HAND_MADE):
            client.delete(name)
    shutil.rmtree(place.program.history.home)
    place.program.history.home.mkdir()
    place.keep("bare")
