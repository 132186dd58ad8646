"""What is to become of dialogues that have faults: mended by rule, left out, or others in their place?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_trainer.errors import DataError
from wizard import prompts
from wizard.prompts import Back
from wizard.steps.draft import Draft
from wizard.steps.talk import Talk
from wizard.words import t

if TYPE_CHECKING:
    from pipeline.checks.length import Length
    from pipeline.mending import Mended
    from pipeline.run.kept import TakenOver

_THOUGHTS = ("thoughts",)
"""The repair that isn't made before a training: what becomes of thoughts is a question of its own."""


def ask_about_faults(draft: Draft, talk: Talk, error: DataError, taken: TakenOver | None) -> Draft | None:
    """The draft with which the dialogues are read once more; None: others are to be chosen. Raises Back."""
    has_rows = bool(error.values.get("findings"))
    proposed = _proposed(taken, talk) if has_rows else []
    other = _other_format(taken)
    ways = ["mend", "one", "skip", "again", "other"] if proposed else ["again", "skip", "other"]
    if not has_rows or draft.request.skip_bad_rows:
        ways.remove("skip")
    if other is not None:
        ways.insert(2 if proposed else 0, "import")
    rows: list[tuple[Any, str]] = [(way, t(f"menu.faults.{way}")) for way in ways]
    while True:
        way = prompts.select(t("ask.faults"), rows, flag="--skip_bad_rows")
        if way == "other":
            return None
        if way == "skip":
            return draft.answer(skip_bad_rows=True)
        if way == "import":
            assert other is not None
            if (brought := _brought_in(other, draft, talk)) is not None:
                return brought
            continue
        if way == "again" or _mend(proposed, talk, one_by_one=way == "one"):
            return draft


def ask_about_refused(draft: Draft, talk: Talk, length: Length | None) -> Draft:
    """The draft that is checked once more, of dialogues that the checks have refused, some for their `length`.

    Raises Back where the plan is to change instead.
    """
    proposed = _proposed(draft.taken, talk, length)
    ways = [*(["mend", "one"] if proposed else []), "skip", "again", "plan"]
    rows: list[tuple[Any, str]] = [(way, t(f"menu.faults.{way}")) for way in ways]
    while True:
        way = prompts.select(t("ask.faults"), rows, flag="--skip_bad_rows")
        if way == "plan":
            raise Back
        if way == "skip":
            return draft.answer(skip_bad_rows=True)
        if way == "again" or _mend(proposed, talk, length, one_by_one=way == "one"):
            return draft


def _other_format(taken: TakenOver | None) -> Path | None:
    """The file that should be training data, where it is something that can be brought in."""
    from pipeline.mending import files_read
    from wizard.importing.for_training import other_format

    if taken is None or taken.request.rows_of_run is not None:
        return None
    train = files_read(taken.request)[0]
    return train if other_format(train, surely=False) else None


def _brought_in(path: Path, draft: Draft, talk: Talk) -> Draft | None:
    """The draft with the rows of something else; None where it wasn't brought in."""
    from wizard.importing.for_training import bring_in

    try:
        folder = bring_in(path, draft, talk)
    except Back:
        return None
    except DataError as error:
        talk.screen.problem(error)
        return None
    return draft.answer(data_dir=folder, train_file=None, val_file=None, rows_of_run=None)


def _proposed(taken: TakenOver | None, talk: Talk, length: Length | None = None) -> list[Mended]:
    """What the rules make of the files that are read; empty where there is nothing that they mend."""
    from pipeline.mending import files_read
    from wizard.mending import asking

    if taken is None or taken.request.rows_of_run is not None:
        return []
    try:
        proposed = asking.propose(files_read(taken.request), talk.screen, length, _THOUGHTS)
    except DataError:
        # what can't be read was told
        return []
    # a row's faults were told, but not where it would be cut
    asking.show(proposed, talk.screen, places=0 if length is None else 1)
    return proposed if any(each.is_changed for each in proposed) else []


def _mend(proposed: Sequence[Mended], talk: Talk, length: Length | None = None, *, one_by_one: bool) -> bool:
    """Whether the files were mended, and are to stay so."""
    from wizard.mending import asking

    try:
        chosen = asking.one_by_one(proposed, talk.screen, length, _THOUGHTS) if one_by_one else proposed
        written = asking.write(chosen, talk.screen)
    except Back:
        return False
    except DataError as error:
        talk.screen.problem(error)
        return error.key == "error.mend.changed"
    return asking.keeps(written, talk.screen)
