"""What the rows are like, on a screen: a head, a labelled line each, and what is worth a look."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.desk.files import Kept, Opened, Statistics
from wizard.history.lines import labelled, pad
from wizard.importing.lines import plain
from wizard.screen.layout import cells, cut, folded
from wizard.screen.training import sparkline
from wizard.words import t

_LINES, _GROUPS, _CATEGORIES = 6, 3, 5
"""So many are named before an ellipsis."""
_WIDEST = 100


def picture(opened: Opened, width: int, blocks: str, *, has_signs: bool) -> list[str]:
    """The desk, no line wider than `width` cells; plain where the terminal hasn't the signs."""
    width = min(width, _WIDEST)
    found = opened.statistics
    lines = [*_head(opened, width, has_signs), ("─" if has_signs else "-") * width]
    if not found.rows:
        lines.append("  " + t("desk.no_rows"))
    else:
        lines += labelled(_facts(found, blocks), width)
    return [*lines, *(f"  {line}" for text in _remarks(opened) for line in folded(f"! {text}", width - 2))]


def _head(opened: Opened, width: int, has_signs: bool) -> list[str]:
    found = opened.statistics
    counted = t("desk.rows", rows=found.rows, answers=found.answers)
    right = t("desk.val", rows=found.val_rows) if found.val_rows else t("desk.no_val")
    title = ("📝 " if has_signs else "") + t("desk.title")
    parts = [title, plain(str(opened.files.train)), counted, right]
    if cells("   ".join(parts)) <= width:
        left = "   ".join(parts[:3])
        return [left + " " * (width - cells(left) - cells(right)) + right]
    return [cut("   ".join(parts[:2]), width), cut("   ".join(parts[2:]), width)]


def _facts(found: Statistics, blocks: str) -> list[tuple[str, str]]:
    rows = []
    if (lengths := found.lengths) is not None:
        drawn = sparkline(lengths.buckets, len(lengths.buckets), blocks)
        told = t("desk.lengths", average=round(lengths.average), longest=lengths.longest, line=lengths.line)
        rows.append((t("desk.label.lengths"), f"{pad(drawn, 10)}  {told}"))
    rows += [(t("desk.label.habit") if not at else "", _habit(kept)) for at, kept in enumerate(found.habits)]
    languages = [
        t(f"desk.language.{name}", share=share) for name, share in found.languages.items() if round(share, 2) > 0
    ]
    if languages:
        rows.append((t("desk.label.languages"), "  ".join(languages)))
    if found.categories:
        rows.append((t("desk.label.categories"), _counted(found.categories)))
    there = [f"{t(f'desk.situation.{name}')} {count}" for name, count in found.situations.items() if count]
    if there:
        rows.append((t("desk.label.situations"), "  ".join(there)))
    rows.append((t("desk.label.system"), _system(found)))
    if found.drafted:
        rows.append((t("desk.label.drafted"), t("desk.drafted", count=found.drafted)))
    return rows


def _habit(kept: Kept) -> str:
    said = t(f"desk.habit.{kept.habit.kind}", habit=plain(kept.habit.text), share=kept.habit.share)
    return f"{said}  {t('desk.against', lines=numbers(kept.against))}" if kept.against else said


def _counted(categories: dict[str, int]) -> str:
    first = list(categories.items())[:_CATEGORIES]
    told = [f"{cut(plain(name), 16)} {count}" for name, count in first]
    others = sum(categories.values()) - sum(count for _, count in first)
    return "  ".join([*told, *([f"{t('desk.other')} {others}"] if others else [])])


def _system(found: Statistics) -> str:
    systems = found.systems
    if systems.common is None:
        return t("desk.system.none")
    if systems.different == 1 and not systems.without:
        return t("desk.system.one")
    parts = [t("desk.system.several", count=systems.different, lines=numbers(systems.lines))] if systems.lines else []
    parts += [t("desk.system.without", count=systems.without)] if systems.without else []
    return t("word.comma").join(parts)


def _remarks(opened: Opened) -> list[str]:
    """What is worth a look, the gravest first."""
    found = opened.statistics
    said = []
    if faults := opened.faults:
        said.append(t("desk.faults", count=len(faults), lines=numbers([fault.line for fault in faults])))
    if found.duplicates:
        count = sum(len(group) - 1 for group in found.duplicates)
        said.append(t("desk.duplicates", count=count, lines=_groups(found.duplicates)))
    if found.near:
        said.append(t("desk.near", count=len(found.near), lines=_groups(found.near)))
    if found.near is None:
        said.append(t("desk.near_unknown"))
    if found.in_both:
        said.append(t("desk.in_both", count=len(found.in_both), lines=_groups(found.in_both)))
    if found.rows and found.missing:
        names = [t("desk.quoted", name=t(f"desk.situation.{name}")) for name in found.missing]
        said.append(t("desk.missing", names=" ".join(names)))
    return said


def numbers(lines: Sequence[int]) -> str:
    """Line numbers, the first of them."""
    return _some([str(line) for line in sorted(set(lines))], _LINES)


def _groups(groups: Sequence[Sequence[int]]) -> str:
    return _some([" = ".join(map(str, group[:_LINES])) for group in groups], _GROUPS)


def _some(names: Sequence[str], most: int) -> str:
    return t("desk.separator").join(names[:most]) + (" …" if len(names) > most else "")
