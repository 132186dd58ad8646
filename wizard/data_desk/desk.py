"""`--data_desk`: what the dialogues are like, and on a terminal a menu of what can be done with them."""

from __future__ import annotations

from typing import Any

from lora_trainer.errors import UsageError, UserError
from pipeline.desk.changes import Backups
from pipeline.desk.drafting.drafting import can_draft
from pipeline.desk.files import Files, Opened, open_files, told
from pipeline.request import Request
from pipeline.run.history import History
from wizard import prompts
from wizard.data_desk.drafting import draft_some
from wizard.data_desk.lines import picture
from wizard.data_desk.places import which_files
from wizard.data_desk.rows import look_through
from wizard.data_desk.splitting import split_off
from wizard.data_desk.system import change_system_prompt
from wizard.data_desk.writing import write_one
from wizard.importing.asking import bring_in_typed
from wizard.mending.desk import mend_here
from wizard.prompts import Back, Row
from wizard.screen.screen import Screen
from wizard.words import t


def sit_down(request: Request, history: History, screen: Screen) -> dict[str, Any]:
    """Show what the dialogues are like; on a terminal stay until the user leaves, elsewhere change nothing.

    Raises DataError where there is nothing to look at, UsageError for drafts that nobody could look at, and Cancelled.
    """
    asks = prompts.can_ask() and not request.yes
    if request.draft_by is not None and not asks:
        raise UsageError("error.draft.unseen")
    try:
        files = which_files(request, history, asks=asks)
    except Back:
        return {"status": "left"}
    if asks:
        return told(_Desk(request, history, screen, files).stay(), "done")
    opened = open_files(files)
    _show(opened, screen)
    return told(opened, "listed")


def _show(opened: Opened, screen: Screen) -> None:
    screen.lines(picture(opened, screen.width, screen.blocks, has_signs=screen.has_signs))


class _Desk:
    """One sitting: the picture and its menu, again after every change."""

    def __init__(self, request: Request, history: History, screen: Screen, files: Files) -> None:
        self._request, self._history, self._screen, self._files = request, history, screen, files
        self._backups = Backups()

    def stay(self) -> Opened:
        """Until the user leaves; returns what is there then. Raises DataError where it can't be read, and Cancelled."""
        while True:
            opened = open_files(self._files, may_be_new=True)
            self._screen.lines([""])
            _show(opened, self._screen)
            try:
                chosen = prompts.select(t("ask.desk.menu"), self._rows(opened), flag="--yes")
            except Back:
                return opened
            try:
                self._do(chosen, opened)
            except Back:
                continue
            except UserError as error:
                if error.exit_code in (3, 130):
                    raise
                self._screen.problem(error)

    def _rows(self, opened: Opened) -> list[Row]:
        has_rows = bool(opened.train)
        return [
            Row("import", t("menu.desk.import")),
            Row("write", t("menu.desk.write")),
            Row("draft", t("menu.desk.draft"), disabled=not can_draft(opened)),
            Row("rows", t("menu.desk.rows"), disabled=not has_rows),
            Row("mend", t("menu.desk.mend"), disabled=not opened.files.train.exists()),
            Row("split", t("menu.desk.split"), disabled=not has_rows),
            Row("system", t("menu.desk.system"), disabled=not has_rows),
        ]

    def _do(self, chosen: str, opened: Opened) -> None:
        if chosen == "import":
            bring_in_typed(self._screen, self._files.train.parent)
        elif chosen == "write":
            write_one(opened, self._backups, self._screen)
        elif chosen == "draft":
            draft_some(opened, self._request, self._history, self._backups, self._screen)
        elif chosen == "rows":
            look_through(opened, self._backups, self._screen)
        elif chosen == "mend":
            mend_here(self._files.there, self._screen)
        elif chosen == "split":
            split_off(opened, self._backups, self._screen)
        else:
            change_system_prompt(opened, self._backups, self._screen)
