"""What became new with an update of the checkout, said once in a line."""

from __future__ import annotations

import re
from pathlib import Path

from wizard.entries.environment import HOUSE, packages, stamp
from wizard.words import spoken

CHANGES = HOUSE / "CHANGELOG.md"


def noted(folder: Path) -> str:
    """The version that the environment in `folder` was last used with; empty where that isn't known."""
    try:
        return stamp("version", folder).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def version() -> str:
    """The program's own version; empty where it has none."""
    from pipeline.run.record import version

    try:
        return version()
    except (OSError, KeyError, ValueError):
        return ""


def take_note(folder: Path) -> None:
    """Nothing up to this version is new any more."""
    stamp("version", folder).write_text(version() + "\n", encoding="utf-8")


def is_new(folder: Path) -> bool:
    """Whether the program has another version than the environment in `folder` was last used with."""
    before = noted(folder)
    try:
        text = (HOUSE / "pyproject.toml").read_text(encoding="utf-8")
    except OSError:
        return False
    # to read it properly takes as long as everything else before a start
    return f'\nversion = "{before}"\n' not in text and before != version()


def newest() -> tuple[str, str] | None:
    """The program's version, and the first line of what CHANGELOG.md says of it; None where it says nothing."""
    try:
        text = CHANGES.read_text(encoding="utf-8")
    except OSError:
        return None
    number = version()
    for part in re.split(r"^## +", text, flags=re.MULTILINE)[1:]:
        heading, *lines = part.splitlines()
        told = re.match(r"\[?v?([^\s\]]+)", heading)
        if told and told[1] == number:
            said = (line.lstrip("-* ").strip() for line in lines if line.strip("-* ") and not line.startswith("#"))
            return number, _in_one_language(next(said, ""))
    return None


def _in_one_language(said: str) -> str:
    """Of `中文 / English` the half that the user reads, without Markdown's marks."""
    chinese, _, english = said.replace("**", "").replace("`", "").partition(" / ")
    return english if english and spoken() == "en" else chinese


def line() -> tuple[str, str] | None:
    """What is to be said of an update, which is then not said again; None where there is nothing."""
    folder = packages()
    if folder is None or not is_new(folder):
        return None
    take_note(folder)
    return newest()
