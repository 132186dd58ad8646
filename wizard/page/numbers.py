"""Numbers in tables: the report card's lines, this run beside the one before, and how it was trained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.outcome.card import Card, Line
from wizard.commands import command_of
from wizard.page.curves import lowest
from wizard.page.head import seconds_of
from wizard.page.markup import Markup, command_line, element
from wizard.page.story import Curve, Story, part
from wizard.page.wording import base_name, data_file, how_long, said, shortly, when
from wizard.screen.plan import files_text, number_text
from wizard.words import t

_MARKS = {"good": "✓", "plain": "·", "warning": "!"}
_SHOWN = ("epochs", "learning_rate", "lora_rank", "lora_alpha", "lora_dropout", "batch_size", "max_length", "seed")
_SWITCHES = ("early_stop", "qlora")
_PARTS = {"card": "page.card", "comparison": "page.compared", "samples": "page.samples"}


def card(story: Story) -> Markup | None:
    """All lines of the report card; None where there is none."""
    if story.card is None:
        return None
    table = element("table", element("tbody", *map(_line, story.card.lines)), class_="card")
    return element("section", element("h2", t("page.card")), table, _facts(story.card))


def _line(line: Line) -> Markup:
    """A line of the card: its mark, what it is about, and the sentence."""
    words = re.split("：|: ", said("card", line.key, line.values), maxsplit=1)
    if len(words) == 2:
        cells = [element("th", words[0], scope="row"), element("td", words[1], dir="auto")]
    else:
        cells = [element("td", words[0], dir="auto", colspan=2)]
    mark = element("td", _MARKS.get(line.mark, "·"), class_="mark")
    return element("tr", mark, *cells, class_=line.mark if line.mark in _MARKS else None)


def _facts(judged: Card) -> Markup | None:
    """Every number that the lines were made of."""
    if not judged.facts:
        return None
    rows: list[tuple[str, str | Markup]] = [(str(name), shortly(value)) for name, value in judged.facts.items()]
    return element("details", element("summary", t("page.facts")), _two_columns(rows, "facts"))


def results(story: Story) -> Markup | None:
    """What came out and what was changed, beside the run before; None where nothing is known of either."""
    before = story.before
    own = dict(_results(story.record, story.losses, story.val_losses))
    others = dict(_results(before.record, before.losses, before.val_losses)) if before else {}
    names = [*own, *(name for name in others if name not in own)]
    if not names:
        return None
    heads = [t("page.run", number=run.number) for run in (before, story) if run is not None]
    rows = []
    for name in names:
        cells = [others.get(name, "-"), own.get(name, "-")] if before else [own[name]]
        differs = before is not None and cells[0] != cells[1]
        numbers = [element("td", cell, dir="auto") for cell in cells]
        rows.append(element("tr", element("th", name, scope="row"), *numbers, class_="differs" if differs else None))
    head = element("tr", element("td"), *(element("th", one, scope="col") for one in heads))
    alone = before is None or before.same_validation or not story.val_losses
    return element(
        "section",
        element("h2", t("page.results")),
        element("table", element("thead", head), element("tbody", *rows), class_="beside"),
        None if alone else element("p", t("page.results.unlike"), class_="about"),
    )


def _results(record: Mapping[str, Any], losses: Curve, val_losses: Curve) -> Iterator[tuple[str, str]]:
    plan, data, training = part(record, "plan"), part(record, "data"), part(record, "training")
    if val_losses:
        yield t("page.result.val_loss"), _course(val_losses)
        yield t("page.result.lowest"), t("page.result.at", loss=f"{lowest(val_losses)[1]:.2f}", at=_at(val_losses))
    if losses and not val_losses and not record.get("card"):  # a card has its own, of more than single steps
        yield t("page.result.loss"), _course(losses)
    general = part(training, "general_loss")
    if all(isinstance(general.get(side), int | float) for side in ("before", "after")):
        yield t("page.result.general"), f"{general['before']:.2f} → {general['after']:.2f}"
    for name in ("epochs", "learning_rate", "lora_rank"):
        if isinstance(plan.get(name), int | float):
            yield t(f"number.{name}"), number_text(name, plan[name])
    if isinstance(data.get("rows"), int):
        yield t("page.result.rows"), str(data["rows"])
    if told := how_long(seconds_of(record)):
        yield t("page.result.time"), told


def _course(points: Curve) -> str:
    first, last = points[0][1], points[-1][1]
    return f"{first:.2f} → {last:.2f}" if len(points) > 1 else f"{last:.2f}"


def _at(points: Curve) -> str:
    return t("page.epochs", epochs=f"{lowest(points)[0]:.1f}")


def making(story: Story) -> Markup:
    """What was trained, of what, with which numbers; and the command that does it again."""
    record = story.record
    rows = [(what, value) for what, value in _making(story) if value]
    system = record.get("system")
    shown = element("details", element("summary", t("page.system")), element("p", system, dir="auto", class_="prompt"))
    return element(
        "section",
        element("h2", t("page.making")),
        _two_columns(rows, "making"),
        shown if system else None,
        *_again(story),
    )


def _making(story: Story) -> Iterator[tuple[str, str | Markup]]:
    record, plan, base = story.record, story.plan, part(story.record, "base")
    yield t("page.making.base"), base_name(base.get("source") or "")
    yield t("page.making.data"), _data(part(record, "data"))
    strategy, parent = record.get("strategy"), record.get("parent")
    if strategy is not None:
        how = said("strategy", f"{strategy}.title", {})
        yield t("page.making.how"), how if parent is None else t("page.making.from", how=how, number=parent)
    told = [f"{t(f'number.{name}')} {number_text(name, plan[name])}" for name in _SHOWN if _is_number(plan.get(name))]
    told += [t(f"number.{name}") for name in _SWITCHES if plan.get(name) is True]
    yield t("page.making.numbers"), _whole_words(told)
    training = story.training
    steps = training.get("steps")
    where = [str(training[name]) for name in ("device", "dtype") if training.get(name)]
    yield t("page.making.steps"), " · ".join([*([str(steps)] if steps is not None else []), *where])
    served = [str(record["quantize"])] if record.get("quantize") else []
    served += [f"{name} {value}" for name, value in part(record, "parameters").items()]
    yield t("page.making.served"), t("word.comma").join(served)
    publications = [one for one in record.get("publications") or () if isinstance(one, Mapping)]
    yield t("page.making.published"), when(publications[-1].get("finished", "")) if publications else ""


def _whole_words(parts: list[str]) -> Markup:
    """Parts of a list of which none is broken where it fits into a line: 2e-4 has a hyphen."""
    *others, last = parts or [""]
    comma = t("word.comma").rstrip()
    return Markup(
        " ".join(element("span", part, class_="word") for part in [*(f"{part}{comma}" for part in others), last])
    )


def _data(data: Mapping[str, Any]) -> str:
    files = files_text([data_file(file) for file in part(data, "files")])
    rows, val = data.get("rows"), data.get("val_rows")
    if rows is None:
        return files
    key = "page.making.rows_and_val" if val else "page.making.rows"
    return t(key, files=files, rows=rows, val=val)


def _again(story: Story) -> list[Markup]:
    if story.again is not None:
        return [element("p", t("page.again"), class_="label"), command_line(command_of(story.again))]
    key = "page.again.adapter" if story.begins_with_adapter else "page.again.unknown"
    return [element("p", t(key), class_="about")]


def missing(story: Story) -> Markup | None:
    """What the page could tell and the record hasn't; None where nothing is missing."""
    lacking = (
        ("card", story.card is None, "page.missing.card"),
        ("comparison", story.comparison is None or not story.comparison.asked, "page.missing.comparison"),
        ("samples", not story.samples, "page.missing.samples"),
        ("losses", not story.losses, "page.missing.losses"),
        ("val_losses", not story.val_losses and bool(story.losses), "page.missing.val_losses"),
    )
    rows = [element("li", t(key)) for name, lacks, key in lacking if lacks and name not in story.unreadable]
    rows += [element("li", t("page.unreadable", part=t(_PARTS[name]))) for name in story.unreadable]
    if not rows:
        return None
    return element("section", element("h2", t("page.missing")), element("ul", *rows), class_="missing")


def _two_columns(rows: list[tuple[str, str | Markup]], kind: str) -> Markup:
    cells = [element("tr", element("th", what, scope="row"), element("td", value, dir="auto")) for what, value in rows]
    return element("table", element("tbody", *cells), class_=kind)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
