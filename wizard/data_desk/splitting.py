"""Rows are split off for validation: how many, and then at once."""

from __future__ import annotations

from pipeline.desk.changes import Backups, check, proposed, split
from pipeline.desk.files import Opened
from wizard import prompts
from wizard.prompts import Wrong
from wizard.screen.screen import Screen
from wizard.words import t


def split_off(opened: Opened, backups: Backups, screen: Screen) -> None:
    """Move rows to the validation file. Raises Back, and DataError where either file can't be changed."""
    for file in (opened.files.train, opened.files.val):
        check(file)
    most = len(opened.train) - 1

    def wrong(line: str) -> Wrong | None:
        return None if line.isdecimal() and 0 < int(line) <= most else Wrong(t("ask.desk.split_wrong", most=most))

    if most < 1:
        screen.note("note.desk.too_few")
        return
    if opened.val:
        screen.note("note.desk.val_is_there", count=len(opened.val), file=opened.files.val)
    default = str(min(most, proposed(len(opened.train))))
    wanted = int(prompts.text(t("ask.desk.split", rows=len(opened.train)), flag="--yes", default=default, check=wrong))
    count = split(opened, wanted, backups)
    if count:
        screen.done("note.desk.split", count=count, file=opened.files.val)
    else:
        screen.note("note.desk.one_group")
