"""An import within another conversation: of files that are typed, or of one that turned out to be no training data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lora_trainer.errors import DataError
from pipeline.request import Request
from wizard import prompts
from wizard.importing.desk import Left, converse
from wizard.prompts import Back, Wrong
from wizard.screen.screen import Screen
from wizard.words import t

if TYPE_CHECKING:
    from pipeline.imports import Found

_OURS = "training_rows"


def what_else(path: Path) -> Found | None:
    """What a file is that can be brought in, where it isn't a file of rows; None where nothing is known of it."""
    from pipeline.imports import look

    if not path.is_file():
        return None
    try:
        (found,), _ = look([path])
    except DataError:
        return None
    return found if found.importer.name != _OURS else None


def bring_in_typed(screen: Screen, folder: Path | None) -> Path:
    """Ask for a file or folder, and bring it in; as `bring_in`."""
    from pipeline.offers.typed import clean_path

    def wrong(line: str) -> Wrong | None:
        if not line:
            return Wrong(t("ask.empty"))
        path = clean_path(line)
        return None if path.exists() else Wrong(t("ask.no_such_path", path=path))

    path = clean_path(prompts.text(t("ask.desk.import"), flag="--import", check=wrong))
    return bring_in(path, screen, folder)


def bring_in(path: Path, screen: Screen, folder: Path | None) -> Path:
    """Hold the conversation of `--import` about a file or folder; returns the folder that its rows were added to.

    Without a `folder` it is asked for. Raises Back where the user doesn't want it any more, DataError and Cancelled.
    """
    # what was said for the training says nothing about an import
    request = Request(import_=(path,), data_dir=folder)
    try:
        return Path(converse(request, screen)["file"]).parent
    except Left:
        raise Back from None
