"""The report card of a run: a head with the verdict, a line for each fact, the one next step."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pipeline.outcome.card import Card, Line, NextStep
from wizard.commands import command
from wizard.screen.layout import cells, wrap
from wizard.screen.training import duration, sparkline
from wizard.words import t

if TYPE_CHECKING:
    from rich.text import Text

WIDEST = 80
CURVE, LEAST_CURVE = 12, 4
"""Columns of the curve behind the validation loss; below the second there is none."""
MARKED = {"good": "ok", "plain": "note", "warning": "warning"}
"""A line's mark -> the screen's name for it."""
_IN_MENU = ("use", "talk", "look", "keep", "back", "choose_point")
"""Next steps that whoever decides about a run has before him as a choice, in the same words."""
_COURSES = ("validation_falling", "validation_flat", "validation_risen", "validation_up")
"""Lines that have a curve."""


class Signs(Protocol):
    """The signs and colours of a screen."""

    @property
    def marks(self) -> Mapping[str, str]: ...
    @property
    def styles(self) -> Mapping[str, str]: ...
    @property
    def blocks(self) -> str: ...
    @property
    def unicode(self) -> bool: ...


@dataclass(frozen=True)
class ScreenSigns:
    """See Signs."""

    marks: Mapping[str, str]
    styles: Mapping[str, str]
    blocks: str
    unicode: bool


def said(line: Line) -> tuple[str, str]:
    """What a line is about, in a word or two, and its sentence."""
    about, sentence = re.split("：|: ", t(f"card.{line.key}", **line.values), maxsplit=1)
    return about, sentence


def verdict(card: Card) -> str:
    """The verdict in words."""
    return t(f"card.verdict.{card.verdict}")


def step(next_step: NextStep) -> str:
    """The next step in words."""
    return t(f"card.next.{next_step.key}", **next_step.values)


def card_lines(card: Card, name: str, number: int, width: int | None, signs: Signs, *, tell_next: bool) -> list[Text]:
    """The card of training `number` of a model, in lines of `width` columns; None, in a pipe, leaves them whole.

    `tell_next`: with the next step and its command; else a menu follows, and what it doesn't offer is said alone.
    """
    from rich.text import Text

    lines = [*_head(card, name, number, width, signs)]
    rows = [(line, *said(line)) for line in card.lines]
    column = max((cells(about) for _, about, _ in rows), default=0)
    for line, about, sentence in rows:
        mark = MARKED[line.mark]
        indent = " " * (3 + column + 2)
        room = 10_000 if width is None else min(width, WIDEST) - len(indent) - 1
        first, *more = wrap(sentence, room)
        left = room - cells(first) - 2
        curve = [loss for _, loss in card.facts.get("validation", ())] if line.key in _COURSES else []
        drawn = Text.assemble(
            " ", (signs.marks[mark], signs.styles[mark]), " ", about, " " * (column - cells(about) + 2), first
        )
        if len(curve) > 2 and not more and left >= LEAST_CURVE:
            drawn.append("  " + sparkline(curve, min(CURVE, left), signs.blocks), "cyan")
        lines += [drawn, *(Text(indent + text.lstrip()) for text in more)]
    if tell_next or card.next_step.key not in _IN_MENU:
        lines += [Text(""), *_next(card.next_step, width, with_command=tell_next)]
    return lines


def _head(card: Card, name: str, number: int, width: int | None, signs: Signs) -> Iterator[Text]:
    from rich.text import Text

    title = t("card.title", name=name, number=number)
    if not signs.unicode:
        title = "".join(character for character in title if ord(character) < 0x1F000).strip()
    seconds = card.facts.get("seconds")
    took = t("card.took", time=duration(seconds)) if seconds is not None else ""
    told = t("card.conclusion", verdict=verdict(card))
    style = "bold yellow" if card.warnings else "bold"
    wide = 10_000 if width is None else min(width, WIDEST)
    left = f"{title}   {took}".rstrip()
    gap = wide - cells(left) - cells(told)
    if width is not None and gap < 3:
        yield from (Text(text, "bold") for text in wrap(left, wide))
        yield from (Text(text, style) for text in wrap(told, wide))
    else:
        yield Text.assemble((left, "bold"), " " * (3 if width is None else gap), (told, style))
    if width is not None:
        yield Text(("─" if signs.unicode else "-") * wide, "dim")


def _next(next_step: NextStep, width: int | None, *, with_command: bool) -> Iterator[Text]:
    from rich.text import Text

    told = t("card.next", step=step(next_step))
    yield from (Text(text, "bold") for text in wrap(told, 10_000 if width is None else min(width, WIDEST)))
    if with_command and next_step.flags:
        yield Text("  " + command(*next_step.flags))
