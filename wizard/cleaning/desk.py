"""`--clean`: what takes room as a list to tick at a terminal, else as lines; `--yes` takes what nobody can miss."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from lora_trainer.errors import Cancelled, UserError
from lora_trainer.events import Doing
from pipeline.cleaning.removing import remove
from pipeline.cleaning.survey import Survey, survey
from pipeline.cleaning.things import Thing
from pipeline.request import Request
from pipeline.run.history import History
from pipeline.run.published import OllamaClient, connect
from wizard import prompts
from wizard.browse import browse
from wizard.cleaning.lines import gain, lost, title
from wizard.cleaning.whole import delete_character
from wizard.prompts import Back
from wizard.screen.layout import READABLE, aligned, cells, cut, flow, terminal_width, wrap
from wizard.screen.screen import Screen
from wizard.screen.training import size
from wizard.words import t

_KEYS = ("enter", "space", "d")
_POINTER = 2


def clean(request: Request, history: History, screen: Screen) -> dict[str, Any]:
    """List what takes room, of all or of the model that is named, and remove what was chosen."""
    client = connect()
    found = _look(request, history, client, screen)
    if request.yes:
        _tell(found, screen)
        return _done(found, list(found.safe), history, client, screen)
    if not (prompts.can_ask() and prompts.can_draw()):
        _print(found, screen)
        return _told("listed", found)
    chosen: list[Thing] | None = None
    try:
        while chosen is None:
            chosen = _tick(found)
            if chosen is None:
                delete_character(history, client, screen)
                found = _look(request, history, client, screen)
    except Back:
        return _told("listed", found)
    if not chosen:
        screen.note("note.clean.nothing")
        return _told("listed", found)
    if not _is_meant(chosen, screen):
        raise Cancelled("error.cancelled")
    return _done(found, chosen, history, client, screen)


def _look(request: Request, history: History, client: OllamaClient, screen: Screen) -> Survey:
    screen.listen(Doing("clean"))
    found = survey(history, client, request.ollama_name)
    screen.settle()
    return found


def _print(found: Survey, screen: Screen) -> None:
    """The list as lines, with what is lost below each."""
    rows = [(title(thing), gain(thing)) for thing in found.things]
    screen.lines([_head(found)])
    for thing, line in zip(found.things, aligned(rows, screen.width - _POINTER), strict=True):
        screen.lines([f"  {line}", *(f"      {part}" for part in wrap(lost(thing), screen.width - 6))])
    if not found.things:
        screen.note("note.clean.empty")
    _tell(found, screen)
    if found.things:
        screen.note("note.clean.how")


def _tell(found: Survey, screen: Screen) -> None:
    """What wasn't looked at."""
    for name in found.busy:
        screen.note("note.clean.busy", name=name)
    if found.ollama is not None:
        screen.note("note.clean.no_ollama")


def _head(found: Survey) -> str:
    freed = sum(thing.bytes for thing in found.things)
    return t("clean.head", taken=size(found.taken), freed=size(freed))


def _tick(found: Survey) -> list[Thing] | None:
    """The things that were ticked; None where a character is to go. Raises Back and Cancelled."""
    things = found.things
    ticked = {at for at, thing in enumerate(things) if thing.proposed}
    at = 0
    while True:
        width = terminal_width()
        told = [t("note.clean.busy", name=name) for name in found.busy]
        told += [t("note.clean.no_ollama")] if found.ollama is not None else []
        keys = [t(f"clean.key.{key}") for key in ("space", "enter", "d", "escape")]
        pressed = browse(
            [_head(found), t("clean.question")],
            _rows(things, ticked, width) or [t("note.clean.empty")],
            [
                *(part for line in told for part in wrap(f"! {line}", width)),
                t("clean.ticked", freed=size(sum(things[one].bytes for one in ticked))),
                *flow(keys, width, indent="", gap="   "),
            ],
            keys=_KEYS,
            at=at,
        )
        at = pressed.at
        if pressed.key == "d":
            return None
        if pressed.key == "enter":
            return [things[one] for one in sorted(ticked)]
        if things:
            ticked ^= {at}


def _rows(things: Sequence[Thing], ticked: Collection[int], width: int) -> list[str]:
    """Title and size always; what is lost as far as there is room: it is told whole before anything goes."""
    gains = [gain(thing) for thing in things]
    widest = max(map(cells, gains), default=0)
    room = width - _POINTER - 4
    titles = [cut(title(thing), room - widest - 2) for thing in things]
    column = max(map(cells, titles), default=0)
    left = room - column - widest - 4
    rows = []
    for at, thing in enumerate(things):
        box, said = "[x]" if at in ticked else "[ ]", cut(lost(thing), left) if left >= READABLE else ""
        told = " " * (column - cells(titles[at])) + "  " + gains[at] + " " * (widest - cells(gains[at]))
        rows.append(f"{box} {titles[at]}{told}  {said}".rstrip())
    return rows


def _is_meant(chosen: Sequence[Thing], screen: Screen) -> bool:
    """Whether the user says so once more, what is lost before his eyes."""
    for thing in chosen:
        screen.text("\n".join(["· " + title(thing), f"  {lost(thing)}"]))
    freed = size(sum(thing.bytes for thing in chosen))
    try:
        return prompts.confirm(t("ask.clean", count=len(chosen), freed=freed), flag="--yes")
    except Back:
        return False


def _done(
    found: Survey, chosen: Sequence[Thing], history: History, client: OllamaClient, screen: Screen
) -> dict[str, Any]:
    """Remove what was chosen, and say of each what became of it; raises the first failure when all were tried."""
    gone: list[Thing] = []
    failures: list[UserError] = []
    for thing in chosen:
        try:
            remove(thing, history, client, screen.listen)
        except UserError as error:
            if error.exit_code in (3, 130):
                raise
            failures.append(error)
            continue
        gone.append(thing)
        screen.done("note.clean.gone", what=title(thing), freed=gain(thing))
    if not chosen:
        screen.note("note.clean.no_leftovers")
    for failure in failures[:-1]:
        screen.problem(failure)
    if failures:
        raise failures[-1]
    return _told("done", found, gone)


def _told(status: str, found: Survey, gone: Sequence[Thing] = ()) -> dict[str, Any]:
    return {
        "status": status,
        "taken": found.taken,
        "things": [thing.to_json() for thing in found.things],
        "removed": [thing.to_json() for thing in gone],
        "freed": sum(thing.bytes for thing in gone),
        "busy": list(found.busy),
        "ollama": found.ollama is None,
    }
