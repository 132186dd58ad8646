"""What `--history` and `--note` do: at a terminal a screen of its own, elsewhere the runs as lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lora_trainer.errors import UsageError
from pipeline.outcome.note import cleaned
from pipeline.request import Request
from pipeline.run.history import BrokenRun, History, Run
from wizard import lookups, prompts
from wizard.history.listed import Listed, look_at, signs_of
from wizard.history.table import table
from wizard.screen.screen import Screen

Stop = Callable[[], bool]


def show_history(history: History, screen: Screen, request: Request, stop: Stop) -> dict[str, Any]:
    """All runs, or those of one model, or one run, oldest first; which of them stand in Ollama is told by digest."""
    name = request.ollama_name
    names = [name] if name else history.names()
    runs = {each: history.runs(each) if name else history.readable(each) for each in names}
    runs = {each: own for each, own in runs.items() if own}
    there = _stands(history, screen, runs)
    broken = history.broken(name)
    if not runs and not broken:
        screen.note("history.empty")
    listed = [look_at(each, own, (there or {}).get(each)) for each, own in runs.items()]
    if request.run is not None and not any(run.number == request.run for one in listed for run in one.runs):
        raise UsageError("error.no_such_run", name=name, number=request.run)
    if listed and _can_show(request):
        from wizard.history.desk import Desk

        lookups.tell_broken(broken, screen)
        Desk(history, screen, stop).stay([one.name for one in listed], request.run)
    elif request.run is not None:
        _print_details(screen, listed[0], request.run)
    else:
        _print(screen, listed)
        lookups.tell_broken(broken, screen)
    return {"status": "done", "runs": _told(listed, there, broken, request.run)}


def _stands(history: History, screen: Screen, runs: Mapping[str, Sequence[Run]]) -> dict[str, int | None] | None:
    from pipeline.run.published import runs_in_ollama

    there = runs_in_ollama(history, runs)
    if there is None:
        screen.note("note.history.no_ollama")
    return there


def _can_show(request: Request) -> bool:
    return prompts.can_ask() and not request.yes and prompts.can_draw()


def _print(screen: Screen, listed: Sequence[Listed]) -> None:
    for number, one in enumerate(listed):
        lines = table(one.name, one.pasts, screen.width, signs_of(screen)).lines
        screen.lines([*([""] if number else []), *lines])


def _print_details(screen: Screen, listed: Listed, number: int) -> None:
    from pipeline.run.published import backups_with
    from wizard.history.details import details

    at = next(at for at, run in enumerate(listed.runs) if run.number == number)
    run, past = listed.runs[at], listed.pasts[at]
    backups = backups_with(listed.name, run)
    screen.lines(details(run, past, backups, min(screen.width, 100), signs_of(screen), screen.blocks))


def _told(
    listed: Sequence[Listed], there: Mapping[str, int | None] | None, broken: Sequence[BrokenRun], number: int | None
) -> list[dict[str, Any]]:
    """What `--json` tells: `stands` is None where Ollama didn't answer."""
    told = []
    for one in listed:
        for run, past in zip(one.runs, one.pasts, strict=True):
            stands = None if there is None else past.stands
            told.append({**lookups.outcome(run), "stands": stands, "comparable": past.comparable})
    if number is not None:
        return [run for run in told if run["run"] == number]
    return sorted([*told, *map(lookups.outcome_of_broken, broken)], key=lambda one: (one["name"].lower(), one["run"]))


def write_note(history: History, screen: Screen, request: Request) -> dict[str, Any]:
    """Let a run of the name, `--run`'s or the newest, have the note. Raises UsageError, and what a lock does."""
    name, note = str(request.ollama_name), cleaned(request.note or "")
    with history.lock(name):
        runs = history.runs(name)
        run = next((run for run in reversed(runs) if request.run in (None, run.number)), None)
        if run is None:
            key = "error.no_such_run" if runs else "error.nothing_to_note"
            raise UsageError(key, name=name, number=request.run)
        run.update(note=note)
    screen.note("note.noted" if note else "note.noted.none", name=name, number=run.number, note=note)
    return lookups.outcome(run)
