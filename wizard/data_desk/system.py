"""One system prompt for all rows."""

from __future__ import annotations

from pipeline.desk.changes import Backups, change_system, check
from pipeline.desk.files import Opened
from wizard import prompts
from wizard.prompts import Back
from wizard.screen.screen import Screen
from wizard.words import t


def change_system_prompt(opened: Opened, backups: Backups, screen: Screen) -> None:
    """Ask for it and write it into both files. Raises Back, and DataError where either file can't be changed."""
    for file in (opened.files.train, opened.files.val):
        check(file)
    now = opened.statistics.systems.common or ""
    text = prompts.text(t("ask.desk.system"), flag="--yes", default=now, check=lambda _: None)
    rows = [dialogue for dialogue in (*opened.train, *opened.val) if (dialogue.system or "") != text]
    if not rows:
        screen.note("note.desk.same_system")
        return
    key = "ask.desk.system_all" if text else "ask.desk.system_none"
    if not prompts.confirm(t(key, count=len(rows)), flag="--yes"):
        raise Back
    screen.done("note.desk.system", count=change_system(opened, text, backups))
