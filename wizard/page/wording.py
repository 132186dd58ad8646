"""Words for what a record says, also where it was written by another version of this program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from wizard.screen.training import duration
from wizard.words import knows, local_time, t


def said(group: str, key: object, values: Mapping[str, Any]) -> str:
    """The text `<group>.<key>`; where this version has none, or one for other values, what the record has itself."""
    name = f"{group}.{key}"
    if knows(name):
        try:
            return t(name, **values)
        except (AttributeError, LookupError, TypeError, ValueError):
            pass  # another version's values: they are shown as they are
    key = str(key).removeprefix("verdict.").removeprefix("next.")
    facts = t("word.comma").join(f"{fact} {shortly(value)}" for fact, value in values.items())
    return t("page.unknown_text", key=key, facts=facts) if facts else key


def shortly(value: object) -> str:
    """A value as it stands in a record, of numbers the digits that say something."""
    if isinstance(value, Mapping):
        return t("word.comma").join(f"{name} {shortly(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return t("word.comma").join(map(shortly, value))
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def base_name(source: object) -> str:
    """A base model as it is shown to others: of a folder or file on this machine only what it is called."""
    return _last_of(str(source), 1)


def data_file(path: object) -> str:
    """A file of dialogues in the same way: its folder's name and its own."""
    return _last_of(str(path), 2)


def _last_of(path: str, parts: int) -> str:
    """The last parts of an absolute path, of this system or another; what is no such path as it is."""
    local = next((kind(path) for kind in (PurePosixPath, PureWindowsPath) if kind(path).is_absolute()), None)
    return path if local is None else "/".join(local.parts[1:][-parts:]) or path


def when(utc: object) -> str:
    """The user's own date and time of a record's; as it stands where it is none."""
    try:
        return local_time(str(utc))
    except ValueError:
        return str(utc)


def how_long(seconds: object) -> str | None:
    """Seconds in words; None where they aren't known."""
    return duration(seconds) if isinstance(seconds, int | float) else None
