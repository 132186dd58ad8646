"""The rows to look through: each can be opened, a turn of it changed, or the whole row deleted."""

from __future__ import annotations

from lora_trainer.errors import UserError
from pipeline.desk.changes import Backups, Turn, change_turn, check, delete_row, turns
from pipeline.desk.files import Opened, open_files
from wizard import prompts
from wizard.browse import browse
from wizard.data_desk.writing import tell_backup, told_or_raised
from wizard.importing.lines import plain
from wizard.prompts import Back, Row, Wrong
from wizard.screen.layout import MENU_MARGIN, cut, flow, shortened, terminal_width
from wizard.screen.screen import Screen
from wizard.words import t

_KEYS = ("enter", "d")
_POINTER = 2


def look_through(opened: Opened, backups: Backups, screen: Screen) -> None:
    """A list of the rows until the user goes back. Raises DataError where the file can't be changed, and Cancelled."""
    check(opened.files.train)
    at = 0
    while opened.train:
        width = terminal_width()
        try:
            pressed = browse(
                [cut(t("desk.list.head", file=opened.files.train, count=len(opened.train)), width)],
                _listed(opened, width - _POINTER),
                flow([t(f"desk.key.{key}") for key in (*_KEYS, "escape")], width, indent="", gap="   "),
                keys=_KEYS,
                at=at,
                numbers=[dialogue.line for dialogue in opened.train],
            )
        except Back:
            return
        at = pressed.at
        line = opened.train[at].line
        try:
            if pressed.key == "d":
                _delete(opened, line, backups, screen)
            else:
                _open(opened, line, backups, screen)
        except Back:
            pass
        except UserError as error:
            told_or_raised(error, screen)
        opened = open_files(opened.files, may_be_new=True)


def _listed(opened: Opened, width: int) -> list[str]:
    digits = len(str(opened.train[-1].line))
    rows = []
    for dialogue in opened.train:
        said = [shortened(plain(m["content"]), width) for m in dialogue.messages if m["role"] != "system"]
        room = (width - digits - 6) // 3
        rows.append(cut(f"{dialogue.line:>{digits}}  {cut(said[0], room)}  → {said[1]}", width))
    return rows


def _open(opened: Opened, line: int, backups: Backups, screen: Screen) -> None:
    """One row, turn by turn. Raises Back."""
    while True:
        found = turns(opened, line)
        width = terminal_width() - MENU_MARGIN
        rows = [Row(turn, cut(_label(turn) + shortened(plain(turn.text), width), width)) for turn in found]
        rows.append(Row(None, t("menu.desk.delete")))
        chosen = prompts.select(t("ask.desk.turn", line=line), rows, flag="--yes")
        if chosen is None:
            _delete(opened, line, backups, screen)
            return
        _edit(opened, line, chosen, backups, screen)


def _edit(opened: Opened, line: int, turn: Turn, backups: Backups, screen: Screen) -> None:
    def wrong(text: str) -> Wrong | None:
        return None if text else Wrong(t("ask.empty"))

    try:
        text = prompts.text(_label(turn), flag="--yes", default=turn.text, check=wrong)
        if text != turn.text:
            backup = change_turn(opened, line, turn.at, text, backups)
            screen.done("note.desk.changed", line=line)
            tell_backup(backup, screen)
    except Back:
        return
    except UserError as error:
        told_or_raised(error, screen)


def _delete(opened: Opened, line: int, backups: Backups, screen: Screen) -> None:
    """Take a row away, if that is meant. Raises Back."""
    if prompts.confirm(t("ask.desk.delete", line=line), flag="--yes"):
        backup = delete_row(opened, line, backups)
        screen.done("note.desk.deleted", line=line)
        tell_backup(backup, screen)


def _label(turn: Turn) -> str:
    return t(f"import.role.{turn.role}")
