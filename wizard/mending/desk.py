"""`--mend`: data files are mended by rules, and what no rule mends is named; nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_trainer.errors import Cancelled, DataError
from pipeline import mending
from pipeline.mending import Mended
from pipeline.request import Request
from pipeline.run.history import History
from wizard import prompts
from wizard.mending import asking
from wizard.prompts import Back
from wizard.screen.screen import Screen
from wizard.words import t

if TYPE_CHECKING:
    from pipeline.checks.length import Length


def mend(request: Request, history: History, screen: Screen) -> dict[str, Any]:
    """Mend training and validation file; at a terminal after asking. Raises DataError where faults stay, Cancelled."""
    from pipeline.checks.length import length_meant

    files = mending.files_meant(request, history)
    length = length_meant(request, history, screen.listen)
    proposed = asking.propose(files, screen, length)
    asks = prompts.can_ask() and not request.yes
    asking.show(proposed, screen, places=1)
    try:
        chosen = which(proposed, screen, length) if asks and is_changed(proposed) else proposed
    except Back:
        raise Cancelled("error.cancelled") from None
    written = asking.write(chosen, screen)
    if asks and not asking.keeps(written, screen):
        raise Cancelled("error.cancelled")
    faults = mending.faults_of(chosen, length)
    result = mending.told(chosen, written, faults)
    if faults:
        raise DataError("error.mend.left", count=len(faults), findings=faults, result=result)
    if not written:
        screen.done("note.mend.fine")
    return result


def mend_here(files: Sequence[Path], screen: Screen) -> None:
    """The same within another conversation, for files that are known. Raises Back, DataError and Cancelled."""
    proposed = asking.propose(files, screen)
    if not is_changed(proposed):
        screen.done("note.mend.fine")
        return
    asking.show(proposed, screen, places=1)
    asking.keeps(asking.write(which(proposed, screen), screen), screen)


def is_changed(mended: Sequence[Mended]) -> bool:
    return any(each.is_changed for each in mended)


def which(proposed: Sequence[Mended], screen: Screen, length: Length | None = None) -> Sequence[Mended]:
    """All of it or some of it, as somebody chooses. Raises Back where nothing is wanted, and Cancelled."""
    rows = [("all", t("menu.mend.all")), ("one", t("menu.mend.one")), ("leave", t("menu.mend.leave"))]
    while True:
        chosen = prompts.select(t("ask.mend"), rows, flag="--yes")
        if chosen == "leave":
            raise Back
        if chosen == "all":
            return proposed
        try:
            return asking.one_by_one(proposed, screen, length)
        except Back:
            continue
