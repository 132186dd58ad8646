"""What people have in place of training data, brought in where a training asks for dialogues."""

from __future__ import annotations

from pathlib import Path

from pipeline.data_places import own_data
from wizard.importing import asking
from wizard.steps.draft import Draft
from wizard.steps.talk import Talk


def bring_in_typed(draft: Draft, talk: Talk) -> Path:
    """The folder that the rows of what is typed were added to. Raises Back, and DataError for what can't be read."""
    return _remembered(asking.bring_in_typed(talk.screen, _place_of(draft)), talk)


def bring_in(path: Path, draft: Draft, talk: Talk) -> Path:
    """The same of this file."""
    return _remembered(asking.bring_in(path, talk.screen, _place_of(draft)), talk)


def other_format(path: Path, *, surely: bool) -> bool:
    """Whether a file is no training data but something that can be brought in.

    `surely` leaves out what is only guessed, and tables, which a training reads as well where their heads say whose
    columns they are.
    """
    found = asking.what_else(path)
    return found is not None and not (surely and (found.importer.is_guess or found.is_table))


def _place_of(draft: Draft) -> Path | None:
    """A new character's own folder; None to ask, since the rows of one that is there may lie anywhere."""
    return own_data(draft.name) if draft.name and draft.choice == "new" else None


def _remembered(folder: Path, talk: Talk) -> Path:
    talk.memory["data"] = folder  # the cursor stands there for whoever comes back to the question
    return folder
