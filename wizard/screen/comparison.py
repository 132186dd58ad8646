"""Answers before and after training, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wizard.words import t

if TYPE_CHECKING:
    from rich.table import Table

SHOWN_CHARACTERS = 300
"""A base model that finds no end would fill the screen."""


@dataclass(frozen=True)
class Compared:
    """One question with both answers."""

    question: str
    before: str
    after: str


def comparison_table(rows: Sequence[Compared], marker: str) -> Table:
    """A row for each question, long answers cut; the marker of the persona stands out."""
    from rich.table import Table
    from rich.text import Text

    table = Table(show_lines=True, expand=True)
    table.add_column(t("demo.question"), ratio=2, style="dim")
    table.add_column(t("demo.before"), ratio=3)
    table.add_column(t("demo.after"), ratio=3)
    for row in rows:
        after = Text(_shown(row.after))
        after.highlight_words([marker], "bold green", case_sensitive=False)
        table.add_row(Text(row.question), Text(_shown(row.before)), after)
    return table


def _shown(answer: str) -> str:
    return answer if len(answer) <= SHOWN_CHARACTERS else answer[:SHOWN_CHARACTERS] + "……"
