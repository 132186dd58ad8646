"""Which run of a name is meant: the one that stands, the one that goes on, the one to register again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lora_trainer.data.dataset import Dataset
from lora_trainer.errors import UsageError
from lora_trainer.events import Listener, Note
from pipeline.job import identity
from pipeline.request import Request
from pipeline.run.adapters import mend_adapter
from pipeline.run.history import History, Run


@dataclass(frozen=True)
class Pending:
    """A run that goes on where it stopped."""

    run: Run
    data: Dataset | None
    """Its dialogues; None where it is trained already."""


def standing_run(history: History, name: str) -> Run | None:
    """The run to continue from: the one published last and not rolled back, else the newest that is done."""
    done = [run for run in history.runs(name) if run.is_done and "rolled_back" not in run.record]
    published = [run for run in done if run.is_published]
    # an older run may have been registered again
    published.sort(key=lambda run: str(run.record["stages"]["publish"]["finished"]))
    return next(reversed(published or done), None)


def run_to_register(history: History, request: Request, name: str) -> Run:
    """The trained run that `--register_only` is about: the one that `--run` names, else the newest.

    Raises UsageError where there is none.
    """
    trained = [run for run in history.runs(name) if run.has_done("train") and request.run in (None, run.number)]
    if not trained:
        raise UsageError("error.nothing_to_register", name=name)
    return trained[-1]


def unfinished(history: History, request: Request, name: str) -> Run | None:
    """The newest run of this name where it didn't reach its end and was asked for like this (or `--resume` says so)."""
    newest = history.newest(name)
    if newest is None or newest.is_done or request.restart:
        return None
    return newest if request.resume or newest.record["request"] == identity(request) else None


def run_to_go_on(
    history: History, request: Request, name: str, read: Callable[[], Dataset], listener: Listener
) -> Pending | None:
    """The unfinished run that a request goes on with; None where it begins a new one.

    `read` reads the dialogues that the request names: other ones than the run's begin a new run, which is told.
    Raises UsageError where `--resume` finds nothing to go on with, or other dialogues.
    """
    run = unfinished(history, request, name)
    if run is None and request.resume:
        raise UsageError("error.nothing_to_resume", name=name)
    if run is None or request.dry_run:
        return None
    mend_adapter(run, listener)
    if run.has_done("train") and not request.ladder:
        return Pending(run, None)
    data = read()
    if data.fingerprint == run.record["data"]["fingerprint"]:
        return Pending(run, data)
    if request.resume:
        raise UsageError("error.data_changed", name=name)
    listener(Note("note.data_changed"))
    return None


def rungs_of_climb(history: History, request: Request, name: str) -> list[Run]:
    """The runs of the ladder that this request has begun, or is about to begin."""
    runs = history.runs(name)
    last_done = max((run.number for run in runs if run.is_done), default=0)
    return [run for run in runs if run.number > last_done and run.record["request"] == identity(request)]
