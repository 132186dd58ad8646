"""`--data_desk`: what the dialogues are like, and on a terminal a menu of what can be done with them."""

from __future__ import annotations

from typing import Any

from pipeline.desk import Opened, open_files, told
from pipeline.request import Request
from pipeline.run.history import History
from wizard import prompts
from wizard.data_desk.lines import picture
from wizard.data_desk.places import which_files
from wizard.prompts import Back
from wizard.screen.screen import Screen


def sit_down(request: Request, history: History, screen: Screen) -> dict[str, Any]:
    """Show what the dialogues are like; on a terminal stay until the user leaves, elsewhere change nothing.

    Raises DataError where there is nothing to look at, and Cancelled.
    """
    asks = prompts.can_ask() and not request.yes
    try:
        files = which_files(request, history, asks=asks)
    except Back:
        return {"status": "left"}
    opened = open_files(files)
    _show(opened, screen)
    return told(opened, "listed")


def _show(opened: Opened, screen: Screen) -> None:
    screen.lines(picture(opened, screen.width, screen.blocks, has_signs=screen.has_signs))
