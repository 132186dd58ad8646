"""`--report`: the page of a run that is there already, made again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lora_trainer.errors import UsageError
from pipeline.request import Request
from pipeline.run.history import History
from wizard.page.browser import can_open, open_in_browser
from wizard.page.report import write_report

if TYPE_CHECKING:
    from wizard.screen.screen import Screen


def make_report(name: str, history: History, screen: Screen, request: Request) -> dict[str, Any]:
    """Make the page of run `--run`, else of the newest one, say where it is, and open it where the user sits here.

    Raises UsageError where there is no such run, OSError where the page can't be written.
    """
    runs = history.runs(name)
    if not runs:
        raise UsageError("error.nothing_to_report", name=name)
    run = runs[-1] if request.run is None else next((run for run in runs if run.number == request.run), None)
    if run is None:
        raise UsageError("error.no_such_run", name=name, number=request.run)
    path = write_report(history, run)
    opened = not request.json and not request.yes and can_open() and open_in_browser(path)
    screen.note("note.report.opened" if opened else "note.report", number=run.number, path=path)
    return {"status": "done", "name": name, "run": run.number, "report": str(path)}
