"""Another run's model put under the name: by its backup, or made again; what stood is kept, and the way back told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.request import Request
from pipeline.run.history import History, Run
from pipeline.run.published import connect
from pipeline.run.standing import look, run_to_register
from wizard import lookups
from wizard.commands import command
from wizard.screen.screen import Screen
from wizard.started import line
from wizard.words import t


def switch(history: History, screen: Screen, name: str, number: int, stop: Callable[[], bool]) -> dict[str, Any]:
    """Let run `number` stand under the name in Ollama; raises UserError, and then what stood still stands."""
    with history.lock(name):
        before = look(history, name, connect())
        asked = Request(ollama_name=name, rollback=True, run=number)
        told = lookups.roll_back(name, history, screen, asked)
        kept = told["kept"] if told is not None else None
        if told is None:
            run = _register(history, screen, name, number, stop)
            told, kept = lookups.outcome(run), (run.record.get("ollama") or {}).get("backup")
        screen.done("note.switched", name=name, number=number)
        back = _way_back(name, before.run if before.in_ollama else None, kept)
        if back:
            screen.text(t("note.switched.back", command=back))
        return told


def _register(history: History, screen: Screen, name: str, number: int, stop: Callable[[], bool]) -> Run:
    """Make the model again from its adapter, and put it into Ollama."""
    from pipeline.checks.preflight import check
    from pipeline.job import going_on
    from pipeline.stages import run_stages

    request, client = Request(ollama_name=name, register_only=True, run=number), connect()
    run = run_to_register(history, request, name, client)
    job = going_on(run, request, history, client)
    return run_stages(job, check(job, screen.listen), screen.listen, stop)


def _way_back(name: str, stood: Run | None, kept: str | None) -> str:
    """The command that undoes it: the run that stood again, or, of a model made elsewhere, its backup."""
    if stood is not None:
        return command("--ollama_name", name, "--rollback", "--run", str(stood.number))
    return line(["ollama", "cp", kept, name]) if kept else ""
