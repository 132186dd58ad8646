"""Which dialogues are laid on the desk?"""

from __future__ import annotations

from pathlib import Path

from pipeline.data_places import DEFAULT_DATA, data_places
from pipeline.desk.files import Files, files_in, files_of
from pipeline.request import Request
from pipeline.run.history import History
from wizard import prompts
from wizard.prompts import Row, Wrong
from wizard.steps.data import place_rows
from wizard.words import t


def which_files(request: Request, history: History, *, asks: bool) -> Files:
    """Those that flags say; else one of the folders that have some, or another place. Raises Back."""
    files = files_of(request, history)
    if files is not None:
        return files
    places = data_places()
    if not asks or not places:
        return files_in(DEFAULT_DATA)
    rows = [*place_rows(places), Row(None, t("menu.data.other"))]
    chosen = prompts.select(t("ask.desk"), rows, flag="--data_dir")
    return files_in(chosen) if isinstance(chosen, Path) else _typed()


def _typed() -> Files:
    from pipeline.offers.typed import clean_path

    def wrong(line: str) -> Wrong | None:
        return None if line else Wrong(t("ask.empty"))

    path = clean_path(prompts.text(t("ask.data_path"), flag="--data_dir", check=wrong))
    return Files(path, path.parent / "val.jsonl") if path.is_file() else files_in(path)
