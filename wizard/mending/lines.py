"""What the rules make of data files, in the user's words: each repair with its count, its lines and a place of it."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.mending import Mended
from wizard.screen.layout import cut, folded
from wizard.words import t

_LISTED = 8
"""Lines that are named of one repair."""


def repairs(mended: Sequence[Mended], width: int, places: int) -> list[str]:
    """All that would be mended, file by file, each repair with as many `places`."""
    lines: list[str] = []
    for each in mended:
        if each.is_changed:
            lines += folded(t("mend.file", file=each.file, count=len(each.changes)), width)
            for name in each.by_repair:
                lines += of_repair(each, name, width, places=places)
    return lines


def of_repair(mended: Mended, name: str, width: int, *, places: int) -> list[str]:
    """One repair in one file, with some of its places before and after."""
    changes = mended.by_repair.get(name, [])
    numbers = sorted({change.line for change in changes if change.line})
    where = t("word.comma").join(map(str, numbers[:_LISTED])) + (" …" if len(numbers) > _LISTED else "")
    said = t(f"mend.{name}")
    if not numbers:
        said = t("mend.whole", repair=said)
    elif mended.unit == "row":
        said = t("mend.rows", repair=said, count=len(changes), rows=where)
    else:
        said = t("mend.lines", repair=said, count=len(changes), lines=where)
    lines = [f"  {line}" for line in folded(said, width - 2)]
    for change in [change for change in changes if change.before != change.after][:places]:
        lines += [cut(f"    - {change.before}", width), cut(f"    + {change.after}", width)]
    return lines
