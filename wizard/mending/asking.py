"""Mending with somebody there: everything is shown before it is written, and one key puts it back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lora_trainer.errors import Cancelled
from lora_trainer.events import Doing
from pipeline import mending
from pipeline.mending import Mended, Rewritten
from wizard import prompts
from wizard.mending.lines import of_repair, repairs
from wizard.prompts import Back
from wizard.screen.screen import Screen
from wizard.words import t

if TYPE_CHECKING:
    from pipeline.checks.length import Length

_PLACES = 3
"""Places of a repair that are shown where it is asked about."""


def propose(
    files: Sequence[Path], screen: Screen, length: Length | None = None, without: Collection[str] = ()
) -> list[Mended]:
    """What all rules but those in `without` would make of the files, too long rows cut to a `length`.

    Raises DataError.
    """
    screen.listen(Doing("mend"))
    mended = mending.look(files, without, length)
    screen.settle()
    return mended


def show(mended: Sequence[Mended], screen: Screen, *, places: int) -> None:
    """All repairs, file by file, each with as many `places`."""
    screen.lines(repairs(mended, screen.width, places))


def one_by_one(
    mended: Sequence[Mended], screen: Screen, length: Length | None = None, without: Collection[str] = ()
) -> list[Mended]:
    """Ask about each repair by itself; what the files become by those that are wanted. Raises Back."""
    names = list(dict.fromkeys(name for each in mended for name in each.by_repair))
    refused: dict[str, bool] = {}
    at = 0
    while at < len(names):
        name = names[at]
        for each in mended:
            screen.lines(of_repair(each, name, screen.width, places=_PLACES))
        rows = [("do", t("menu.mend.this")), ("leave", t("menu.mend.not_this"))]
        try:
            chosen = prompts.select(t("ask.mend.one", number=at + 1, count=len(names)), rows, flag="--yes")
        except Back:
            if not at:
                raise
            at -= 1
            continue
        refused[name] = chosen == "leave"
        at += 1
    left = {name for name, is_refused in refused.items() if is_refused}
    return mending.look([each.file for each in mended], left.union(without), length)


def write(mended: Sequence[Mended], screen: Screen) -> list[Rewritten]:
    """Write the files, and say where their backups are. Raises DataError."""
    written = mending.write(mended)
    for each in written:
        count = next(len(m.changes) for m in mended if m.file == each.file)
        screen.done("note.mend.done", file=each.file, count=count)
        screen.note("note.mend.backup", file=each.backup)
    return written


def keeps(written: Sequence[Rewritten], screen: Screen) -> bool:
    """Whether it is to stay; else, and where the user leaves, the backups are the files again. Raises Cancelled."""
    if not written:
        return True
    try:
        if prompts.select(
            t("ask.mend.keep"), [(True, t("menu.mend.keep")), (False, t("menu.mend.undo"))], flag="--yes"
        ):
            return True
    except Back:
        pass
    except Cancelled:
        mending.undo(written)
        raise
    mending.undo(written)
    screen.note("note.mend.undone")
    return False
