"""The top of a page: which run it is, what came of it, and the one next step."""

from __future__ import annotations

from typing import Any

from pipeline.outcome.card import Card
from wizard.commands import command
from wizard.page.curves import chosen_epochs, lowest, number
from wizard.page.markup import Markup, command_line, element
from wizard.page.story import Story, part
from wizard.page.wording import how_long, said, when
from wizard.words import t

_WELL = ("learned", "nearly")
_AMISS = ("too_little", "overfitted", "does_not_stop", "worse")
"""Verdicts with a colour of their own; of the others only a warning has one."""


def header(story: Story) -> Markup:
    """Name, number, date, time, state and note of the run."""
    record = story.record
    facts = [t("page.run", number=story.number), when(record.get("created", "")), how_long(seconds_of(record))]
    if (chosen := chosen_epochs(story)) is not None:
        facts.append(t("page.curves.chosen", epochs=number(chosen)))
    state = str(record.get("status"))
    shown = element("span", said("status", state, {}), class_="state") if state != "done" else None
    line = element("p", " · ".join(fact for fact in facts if fact), " " if shown else None, shown, class_="facts")
    note = record.get("note")
    return element(
        "header",
        element("p", t("page.kind"), class_="kind"),
        element("h1", element("bdi", story.name)),
        line,
        element("p", note, class_="note", dir="auto") if note else None,
    )


def seconds_of(record: Any) -> float | None:
    """How long all stages of a run took together; None where none is done."""
    found = [part(part(record, "stages"), name).get("seconds") for name in part(record, "stages")]
    known = [seconds for seconds in found if isinstance(seconds, int | float)]
    return sum(known) if known else None


def outcome(story: Story) -> Markup:
    """The verdict with its warnings and the next step; without a report card, what can be said all the same."""
    if story.card is not None:
        return _judged(story, story.card)
    words = [t("page.no_card")]
    if story.record.get("error"):
        error = part(story.record, "error")
        group, _, key = str(error.get("key", "?")).partition(".")
        words = [t("page.stopped"), said(group, key, part(error, "values")) if key else group]
    elif story.val_losses:
        epochs, loss = lowest(story.val_losses)
        words.append(t("page.only_loss", epochs=number(epochs), loss=f"{loss:.3f}"))
    elif story.losses:
        words.append(t("page.only_training_loss", first=f"{story.losses[0][1]:.3f}", last=f"{story.losses[-1][1]:.3f}"))
    paragraphs = [element("p", line, dir="auto") for text in words for line in text.split("\n")]
    return element("section", *paragraphs, class_="outcome unjudged")


def _judged(story: Story, card: Card) -> Markup:
    step = card.next_step
    warnings = [line for line in card.lines if line.mark == "warning"]
    rows = [element("li", said("card", line.key, line.values), dir="auto") for line in warnings]
    name = () if "--ollama_name" in step.flags else ("--ollama_name", story.name)
    how = command_line(command(*name, *step.flags)) if step.flags else None
    return element(
        "section",
        element("p", t("page.verdict"), class_="label"),
        element("p", said("card", f"verdict.{card.verdict}", {}), class_="verdict", dir="auto"),
        element("ul", *rows, class_="warnings") if rows else None,
        element("p", t("page.next"), class_="label"),
        element("p", said("card", f"next.{step.key}", step.values), class_="next", dir="auto"),
        how,
        class_=f"outcome {_colour(card)}",
    )


def _colour(card: Card) -> str:
    if card.warnings or card.verdict in _AMISS:
        return "warned"
    return "good" if card.verdict in _WELL else "unjudged"
