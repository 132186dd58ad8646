"""Which run of a name is meant: the one that stands in Ollama, the one that goes on, the one to register again.

What stands is known by digest: Ollama tells the manifest's of every name, and each run's record has those under which
it was published. One that converts models changes digests: there a model is known by the mark in its GGUF. Times and
numbers are asked only where Ollama can't be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lora_trainer.errors import OllamaError, UsageError
from pipeline.run.run import left_over

if TYPE_CHECKING:
    from lora_trainer.data.dataset import Dataset
    from lora_trainer.events import Listener
    from ollama_export.server.client import OllamaClient
    from pipeline.request import Request
    from pipeline.run.history import History
    from pipeline.run.run import Run


@dataclass(frozen=True)
class Standing:
    """What stands under a name."""

    in_ollama: bool | None
    """Whether Ollama has a model of that name; None where it wasn't asked or doesn't answer."""
    run: Run | None
    """The run whose model it is; where Ollama doesn't tell, the one published last, else the newest that is done."""

    @property
    def made_elsewhere(self) -> bool:
        """Whether Ollama has a model there that no run record knows."""
        return self.in_ollama is True and self.run is None


@dataclass(frozen=True)
class Pending:
    """A run that goes on where it stopped."""

    run: Run
    data: Dataset | None
    """Its dialogues; None where it is trained already."""


def look(history: History, name: str, client: OllamaClient | None) -> Standing:
    """What stands under a name; no `client`: Ollama is not asked."""
    digest, gguf = None, None
    try:
        if client is None:
            return Standing(None, last_published(history, name))
        digest = client.digest(name)
        if digest is None:
            return Standing(False, last_published(history, name))
        runs = history.runs(name)
        run = next((run for run in reversed(runs) if digest in run.digests), None)
        if run is None:
            # its words or parameters may have been changed by hand: the weights are still a run's
            gguf = client.stored_gguf(name)
            run = next((run for run in reversed(runs) if gguf is not None and gguf in run.weights), None)
        return Standing(True, run or _converted(runs, last_published(history, name), client.show(name)))
    except OllamaError:
        return Standing(None, last_published(history, name))


def _converted(runs: Sequence[Run], last: Run | None, shown: Mapping[str, Any]) -> Run | None:
    """The run whose model it is in a form that Ollama made of it, by its mark; what has none may be the one published
    last. `--verify` holds it.
    """
    from pipeline.run.likeness import differing_beside_weights, marked, may_have_converted

    if mark := marked(shown):
        return next((run for run in reversed(runs) if mark in run.marks), None)
    if last is None or not last.is_published or not may_have_converted(shown):
        return None
    return None if differing_beside_weights(shown, last) else last


def last_published(history: History, name: str) -> Run | None:
    """The run that was published last, as the records have it, else the newest one that is done."""
    runs = history.runs(name)
    published = [run for run in runs if run.publications]
    if published:
        # records of an older version all have 0, and only the clock
        return max(published, key=lambda run: (run.publications[-1]["order"], run.publications[-1]["finished"]))
    return next((run for run in reversed(runs) if run.is_done), None)


def run_to_register(history: History, request: Request, name: str, client: OllamaClient | None) -> Run:
    """The trained run that `--register_only` is about: the one that `--run` names, else the one that stands, else (of a
    name that was never published) the newest. One that waits to be decided about comes before what stands, one that was
    declined has to be named, unless it is all there is.

    Raises UsageError where there is none.
    """
    runs = history.runs(name)
    trained = [run for run in runs if run.has_done("train")]
    if request.run is not None and runs:
        return _trained_run(runs, name, request.run)
    left = left_over(reversed(trained))
    unpublished = left if left and not left.publications else None
    chosen = unpublished or look(history, name, client).run
    if chosen is None or not chosen.has_done("train"):
        chosen = trained[-1] if trained else None
    if chosen is None:
        raise UsageError("error.nothing_to_register", name=name)
    return chosen


def unfinished(history: History, request: Request, name: str) -> Run | None:
    """The run of this name that didn't reach its end, or waits to be decided about, where it was asked for like this,
    or `--resume` says so.

    Asked for alike are two requests whose flags train the same; how the model is served, and what is told or kept,
    doesn't matter. Raises UsageError where `--resume` comes with flags that would train otherwise.
    """
    newest = left_over(reversed(history.runs(name)))
    if newest is None or request.restart:
        return None
    alike = request.identity == newest.identity and _is_same_choice(request, newest)
    if request.resume and not alike and request.trained_otherwise():
        flags = ", ".join(f"--{flag}" for flag in request.trained_otherwise())
        raise UsageError("error.resume_differs", name=name, number=newest.number, flags=flags)
    return newest if alike or request.resume else None


def _is_same_choice(request: Request, run: Run) -> bool:
    """Whether continuing or overwriting, where the flags say it, is what the run was begun as."""
    continues = run.record.get("strategy") is not None
    return {"continue": continues, "overwrite": not continues}.get(request.exists_choice or "", True)


def run_to_go_on(
    history: History, request: Request, name: str, read: Callable[[Run], Dataset], listener: Listener
) -> Pending | None:
    """The unfinished run that a request goes on with; None where it begins a new one.

    `read` reads the dialogues that the request names, or else the run's own files: other ones than it was begun with
    begin a new run, which is told. Raises UsageError where `--resume` finds nothing to go on with, or other dialogues.
    """
    run = unfinished(history, request, name)
    if run is None and request.resume:
        raise UsageError("error.nothing_to_resume", name=name)
    if run is None or request.dry_run:
        return None
    from pipeline.run.adapters import mend_adapter

    mend_adapter(run, listener)
    trained = run.has_done("train") and (not request.ladder or _is_climbed(history, run))
    if trained and request.resume:
        return Pending(run, None)
    data = read(run)
    if data.fingerprint == run.record["data"]["fingerprint"]:
        return Pending(run, None if trained else data)
    if request.resume:
        raise UsageError("error.data_changed", name=name)
    from lora_trainer.events import Note

    listener(Note("note.data_changed"))
    return None


def rungs_of_climb(history: History, request: Request, name: str) -> list[Run]:
    """The runs of the ladder that this request has begun, or is about to begin."""
    runs = history.runs(name)
    last_done = max((run.number for run in runs if run.is_over), default=0)
    return [run for run in runs if run.number > last_done and run.identity == request.identity]


def other_rungs(history: History, run: Run) -> list[Run]:
    """The other trained rungs of the ladder that a run is one of, shortest first, but for those that were published."""
    return [rung for rung in _rungs_beside(history, run, (-1, 1)) if not rung.publications]


def rungs_below(history: History, run: Run) -> list[Run]:
    """The trained rungs of its ladder that are shorter than a run, shortest first, whatever has become of them."""
    return _rungs_beside(history, run, (-1,))


def _rungs_beside(history: History, run: Run, ways: Sequence[int]) -> list[Run]:
    """The trained rungs before (-1) or after (1) one of a ladder, shortest first.

    One request has begun them one after the other, each longer than the one before.
    """
    if run.identity.get("ladder") is None:
        return []
    runs = {other.number: other for other in history.runs(run.record["name"])}
    found = []
    for way in ways:
        last, other = run, runs.get(run.number + way)
        while other is not None and other.identity == run.identity:
            if (other.plan.epochs - last.plan.epochs) * way <= 0:
                break
            found += [other] if other.has_done("train") else []
            last, other = other, runs.get(other.number + way)
    return sorted(found, key=lambda rung: rung.plan.epochs)


def _is_climbed(history: History, run: Run) -> bool:
    """Whether all rungs of a run's ladder are trained: one of them was taken to be published."""
    return any(rung.is_waiting or rung.is_over for rung in (run, *other_rungs(history, run)))


def run_to_continue(history: History, request: Request, name: str) -> Run:
    """The trained run that `--from_run` names; raises UsageError where there is none."""
    return _trained_run(history.runs(name), name, request.from_run)


def _trained_run(runs: Sequence[Run], name: str, number: int | None) -> Run:
    chosen = next((run for run in runs if run.number == number), None)
    if chosen is None:
        raise UsageError("error.no_such_run", name=name, number=number)
    if not chosen.has_done("train"):
        raise UsageError("error.run_not_trained", name=name, number=number)
    return chosen
