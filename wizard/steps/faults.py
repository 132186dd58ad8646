"""What is to become of dialogues that have faults: mended by rule, left out, or others in their place?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lora_trainer.errors import DataError
from wizard import prompts
from wizard.prompts import Back
from wizard.steps.draft import Draft
from wizard.steps.talk import Talk
from wizard.words import t

if TYPE_CHECKING:
    from pipeline.mending import Mended
    from pipeline.run.kept import TakenOver


def ask_about_faults(draft: Draft, talk: Talk, error: DataError, taken: TakenOver | None) -> Draft | None:
    """The draft with which the dialogues are read once more; None: others are to be chosen. Raises Back."""
    has_rows = bool(error.values.get("findings"))
    proposed = _proposed(taken, talk) if has_rows else []
    ways = ["mend", "one", "skip", "again", "other"] if proposed else ["again", "skip", "other"]
    if not has_rows or draft.request.skip_bad_rows:
        ways.remove("skip")
    rows: list[tuple[Any, str]] = [(way, t(f"menu.faults.{way}")) for way in ways]
    while True:
        way = prompts.select(t("ask.faults"), rows, flag="--skip_bad_rows")
        if way == "other":
            return None
        if way == "skip":
            return draft.answer(skip_bad_rows=True)
        if way == "again" or _mend(proposed, talk, one_by_one=way == "one"):
            return draft


def _proposed(taken: TakenOver | None, talk: Talk) -> list[Mended]:
    """What the rules make of the files that are read; empty where there is nothing that they mend."""
    from pipeline.mending import files_read
    from wizard.mending import asking

    if taken is None or taken.request.rows_of_run is not None:
        return []
    try:
        proposed = asking.propose(files_read(taken.request), talk.screen)
    except DataError:
        # what can't be read was told
        return []
    asking.show(proposed, talk.screen, places=0)
    return proposed if any(each.is_changed for each in proposed) else []


def _mend(proposed: Sequence[Mended], talk: Talk, *, one_by_one: bool) -> bool:
    """Whether the files were mended, and are to stay so."""
    from wizard.mending import asking

    try:
        chosen = asking.one_by_one(proposed, talk.screen) if one_by_one else proposed
        written = asking.write(chosen, talk.screen)
    except Back:
        return False
    except DataError as error:
        talk.screen.problem(error)
        return error.key == "error.mend.changed"
    return asking.keeps(written, talk.screen)
