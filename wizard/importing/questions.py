"""The questions of an import: who is the character, which column is whose, where do the rows go, do they please?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.data_places import DEFAULT_DATA, data_places
from pipeline.imports import Choices as Choices
from pipeline.imports import Found, speakers
from wizard import prompts
from wizard.importing.lines import plain
from wizard.prompts import Row, Wrong
from wizard.words import t

_MOST_SPEAKERS = 30
"""Of a large group, those who say most."""


def who_is_the_character(found: Sequence[Found]) -> str:
    """The name of one of the speakers. Raises Back."""
    most = speakers(found).most_common(_MOST_SPEAKERS)
    rows = [Row(name, t("import.speaker", name=plain(name), count=count), name=plain(name)) for name, count in most]
    return str(prompts.select(t("ask.import.character"), rows, flag="--character"))


def which_column(part: str, heads: Sequence[str]) -> str:
    """The head of a table's column. Raises Back."""
    return str(
        prompts.select(t(f"ask.import.column.{part}"), [(head, plain(head)) for head in heads], flag="--columns")
    )


def which_folder() -> Path:
    """A folder that has dialogues already, `data`, or one that is typed. Raises Back."""
    known = [place.folder for place in data_places()]
    folders = known if DEFAULT_DATA in known else [DEFAULT_DATA, *known]
    rows: list[Row] = [Row(folder, f"{folder}/") for folder in folders]
    chosen = prompts.select(t("ask.import.place"), [*rows, Row(None, t("menu.import.other"))], flag="--data_dir")
    if isinstance(chosen, Path):
        return chosen
    from pipeline.offers.typed import clean_path

    def wrong(line: str) -> Wrong | None:
        if not line:
            return Wrong(t("ask.empty"))
        path = clean_path(line)
        return Wrong(t("error.import.no_folder", folder=path)) if path.exists() and not path.is_dir() else None

    return clean_path(prompts.text(t("ask.import.folder"), flag="--data_dir", check=wrong))


def what_now(folder: Path, count: int, *, has_more: bool, can_be_cut: bool) -> str:
    """write, more or pause. Raises Back."""
    rows = [Row("write", t("menu.import.write", count=count, folder=folder), disabled=not count)]
    rows += [Row("more", t("menu.import.more"))] if has_more else []
    rows += [Row("pause", t("menu.import.pause"))] if can_be_cut else []
    return str(prompts.select(t("ask.import.write"), [*rows, Row("leave", t("menu.import.leave"))], flag="--yes"))


def how_long_a_pause(now: float) -> float:
    """Minutes. Raises Back."""

    def wrong(line: str) -> Wrong | None:
        return None if _minutes(line) is not None else Wrong(t("ask.import.pause_wrong"))

    line = prompts.text(t("ask.import.pause"), flag="--pause", default=f"{now:g}", check=wrong)
    return _minutes(line) or now


def _minutes(line: str) -> float | None:
    try:
        minutes = float(line)
    except ValueError:
        return None
    return minutes if 0.1 <= minutes <= 1_000_000 else None
