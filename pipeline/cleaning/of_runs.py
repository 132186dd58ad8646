"""What runs have left that takes room: checkpoints, points, files, trainings that weren't ended, leftovers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lora_trainer.engine.checkpoints import adapter_fault
from pipeline.cleaning.things import Thing, size_of
from pipeline.outcome.comparison.respondents import TEMPORARY
from pipeline.outcome.points import FOLDER as POINTS
from pipeline.publishing import gguf_path
from pipeline.run.corrections import NAME as CORRECTIONS
from pipeline.run.history import History, Run
from pipeline.run.overview import percent_kept
from pipeline.travel.adopting import STAGING

OLD = timedelta(days=30)
"""From this age on a training that wasn't ended is proposed."""
DELETING = "deleting-"
"""How a folder's name begins that is on its way out."""
_OF_A_RUN = ("*.new", "*.part", "talk.gguf*", f"*{TEMPORARY}*", "checkpoints/writing", "checkpoints/deleting-*",
             f"{POINTS}/writing-*", f"{POINTS}/deleting-*")  # fmt: skip
"""Below a run's folder, what only a process that was killed in the middle has left; nothing ever reads it."""


def things_of_runs(history: History, name: str, folder: Path, now: datetime) -> Iterator[Thing]:
    """Of the runs of one model, in `folder`; nobody must be at work on them."""
    leftovers = leftovers_in(folder)
    if leftovers:
        yield Thing("leftovers", name, size_of(leftovers), paths=leftovers, proposed=True, safe=True)
    runs = history.readable(name)
    over = [run for run in runs if run.is_over]
    yield from _several("checkpoints", name, [(run, (run.folder / "checkpoints",)) for run in over])
    yield from _several("points", name, [(run, tuple(unused_points(run))) for run in over])
    yield from _several("ggufs", name, [(run, (gguf_path(run),)) for run in over])
    for run in runs:
        if not run.is_over:
            yield _unfinished(run, name, now)
    for broken in history.broken(name):
        if broken.schema is None:
            yield Thing("broken", name, size_of([broken.folder]), runs=(broken.number,))


def leftovers_in(folder: Path) -> tuple[Path, ...]:
    """What killed processes have left in a model's folder, which nobody else is at work on."""
    found = [*folder.glob(f"{STAGING}*"), *folder.glob(f"{DELETING}*"), *folder.glob(f"{CORRECTIONS}.new")]
    for run in folder.iterdir() if folder.is_dir() else ():
        if not run.name.isdecimal() or not run.is_dir() or run.is_symlink():
            continue
        found += [path for pattern in _OF_A_RUN for path in run.glob(pattern) if path.name != "adapter.new"]
        # between two renames they are all there is of it
        if not adapter_fault(run / "adapter"):
            found += [path for end in ("old", "new") for path in run.glob(f"adapter.{end}")]
    return tuple(sorted(set(found)))


def unused_points(run: Run) -> list[Path]:
    """The adapters along the way that neither stand nor would be exported."""
    used = {str(point["step"]) for point in (run.point, run.taught_point) if point}
    folder = run.folder / POINTS
    return [path for path in sorted(folder.glob("*")) if path.name.isdecimal() and path.name not in used]


def _several(kind: str, name: str, found: Sequence[tuple[Run, tuple[Path, ...]]]) -> Iterator[Thing]:
    there = [(run.number, size) for run, paths in found if (size := size_of(paths))]
    if there:
        numbers = tuple(number for number, _ in there)
        yield Thing(kind, name, sum(size for _, size in there), runs=numbers)


def _unfinished(run: Run, name: str, now: datetime) -> Thing:
    """One that wasn't trained to its end goes whole; of one that was, its adapter stays."""
    if run.has_done("train"):
        paths = [gguf_path(run), run.folder / "checkpoints", *unused_points(run)]
        return Thing("waiting", name, size_of(paths), runs=(run.number,))
    old = _age(run, now) > OLD
    percent = percent_kept(run)
    return Thing("unfinished", name, size_of([run.folder]), percent=percent, runs=(run.number,), proposed=old)


def _age(run: Run, now: datetime) -> timedelta:
    try:
        created = datetime.fromisoformat(str(run.record.get("created")))
        return now - (created if created.tzinfo else created.replace(tzinfo=UTC))
    except ValueError:
        return timedelta()
