"""Answers before and after training as lines: one question on a screen, or all of them below each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wizard.screen.layout import cells, cut, folded, wrap
from wizard.words import t

if TYPE_CHECKING:
    from pipeline.outcome.asked import Answer, Asked, Comparison, Side
    from wizard.screen.screen import Screen

WIDEST = 80
LEAST_LINES = 2
"""Of an answer, however low the terminal is."""
_INDENT = 1
_GAP = 3


@dataclass(frozen=True)
class Marks:
    """The signs of a comparison, as far as the terminal has them."""

    rule: str = "─"
    versus: str = "🆚 "


PLAIN = Marks("-", "")


def marks_of(screen: Screen) -> Marks:
    """Those that a screen's stream has."""
    return Marks() if screen.shows("─🆚") else PLAIN


def comparison_screen(
    name: str, comparison: Comparison, at: int, width: int, height: int, keys: str, marks: Marks
) -> list[str]:
    """One question with both answers, which are cut where they leave no room; `keys` says what can be pressed.

    No line is wider than `width` cells, and there are no more than `height` where that is 14 or more.
    """
    width, one = min(width, WIDEST), comparison.asked[at]
    count = t("compare.count", count=len(comparison.asked), number=at + 1)
    head = [*_title(name, comparison, width, count, marks), marks.rule * width]
    foot = [marks.rule * width, *wrap(keys, width)]
    room = height - len(head) - len(foot) - 1
    parts = _parts(one, width)
    question = parts[0][:LEAST_LINES] if len(parts[0]) > max(LEAST_LINES, room // 4) else parts[0]
    left = max(2 * LEAST_LINES, room - len(question) - (len(parts) - 3))
    before, after = _fitted(parts[1], parts[2], left, width)
    return [*head, *question, *before, *after, *(line for part in parts[3:] for line in part), *foot]


def comparison_list(name: str, comparison: Comparison, width: int, marks: Marks) -> list[str]:
    """All questions with their answers, whole."""
    head = _title(name, comparison, min(width, WIDEST), t("compare.all", count=len(comparison.asked)), marks)
    return [*head, *answer_lines(comparison.asked, width, marks)]


def answer_lines(asked: Sequence[Asked], width: int, marks: Marks) -> list[str]:
    """Questions with their answers, whole, below each other."""
    width = min(width, WIDEST)
    lines: list[str] = []
    for one in asked:
        lines += [marks.rule * width, *(line for part in _parts(one, width) for line in part)]
    return [*lines, marks.rule * width]


def side_name(side: Side | None) -> str:
    """Who answered, in the user's words."""
    if side is None:
        return t("compare.who.nobody")
    if side.kind == "run":
        return t("compare.who.run", number=side.run, epochs=side.epochs)
    return t(f"compare.who.{side.kind}", name=side.name)


def _title(name: str, comparison: Comparison, width: int, right: str, marks: Marks) -> list[str]:
    title = marks.versus + t("compare.title", name=name)
    gap = width - cells(title) - cells(right)
    first = [title + " " * gap + right] if gap >= 2 else [cut(title, width), cut(right, width)]
    who = t("compare.sides", before=side_name(comparison.before), after=side_name(comparison.after))
    return [*first, *folded(who, width)]


def _parts(one: Asked, width: int) -> list[list[str]]:
    """Question, both answers, and what else is to be said of them, as lines behind a label."""
    labels = [t(f"compare.label.{label}") for label in ("question", "before", "after")]
    column = _INDENT + max(map(cells, labels)) + _GAP
    texts = [one.question.text, _said(one.before), _said(one.after)]
    parts = [_labelled(label, text, column, width) for label, text in zip(labels, texts, strict=True)]
    if one.question.system is not None:
        system = cut(" ".join(visible(one.question.system).split()), width - column - cells(t("compare.system")) - 1)
        parts.append(_labelled("", t("compare.system") + system, column, width))
    return parts


def _said(answer: Answer | None) -> str:
    if answer is None:
        return t("compare.nobody")
    text = answer.text or t("compare.silence")
    return text if answer.stopped else f"{text} {t('compare.endless')}"


def _labelled(label: str, text: str, column: int, width: int) -> list[str]:
    lines = [folded for line in visible(text).split("\n") for folded in folded_or_empty(line, width - column)]
    first = " " * _INDENT + label + " " * (column - _INDENT - cells(label))
    return [(first if number == 0 else " " * column) + line for number, line in enumerate(lines)]


def _fitted(before: list[str], after: list[str], room: int, width: int) -> tuple[list[str], list[str]]:
    """Both answers in so many lines: what one leaves free is the other's."""
    half = room // 2
    most_after = max(half, room - len(before))
    most_before = max(half, room - min(len(after), most_after)) if len(before) > half else len(before)
    return _shortened(before, most_before, width), _shortened(after, max(LEAST_LINES, room - most_before), width)


def _shortened(lines: list[str], most: int, width: int) -> list[str]:
    if len(lines) <= most:
        return lines
    more = t("compare.more", count=len(lines) - most + 1)
    margin = len(lines[-1]) - len(lines[-1].lstrip())
    return [*lines[: most - 1], cut(" " * margin + more, width)]


def visible(text: str) -> str:
    """`text` without what a terminal would obey: only the ends of lines stay."""
    lines = text.replace("\r\n", "\n").replace("\t", "    ").splitlines()
    return "\n".join("".join(c if c.isprintable() else "�" for c in line) for line in lines)


def folded_or_empty(text: str, width: int) -> Sequence[str]:
    """As `folded`; an empty line is one."""
    return folded(text.rstrip(), width) or [""]
