"""What a thing that takes room is, and what is lost with it, in the user's words."""

from __future__ import annotations

from pipeline.cleaning.things import Thing
from wizard.screen.training import size
from wizard.words import t


def title(thing: Thing) -> str:
    """What it is."""
    return _said(thing)


def lost(thing: Thing) -> str:
    """What can't be done any more without it."""
    return _said(thing, ".lost")


def gain(thing: Thing) -> str:
    """What removing it gives back; nothing, where others need the same."""
    return size(thing.bytes) if thing.bytes else "0 KB"


def _said(thing: Thing, more: str = "") -> str:
    return t(
        f"clean.{thing.kind}{more}",
        name=thing.name,
        count=len(thing.tags or thing.runs),
        numbers=_listed(thing.runs),
        number=thing.runs[0] if thing.runs else 0,
        tag=thing.tags[0][0] if thing.tags else "",
        percent=thing.percent,
    )


def _listed(numbers: tuple[int, ...]) -> str:
    """1, 2, 5-7: neighbours as one."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    said = [f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts]
    return t("word.comma").join(said)
