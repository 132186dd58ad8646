"""All repairs by name, in the order in which they are done and told; those of a row with what they make of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from data_desk.repairs.too_long import Fits, cut_to_fit
from data_desk.repairs.turns import ended_by_an_answer, with_joined_turns, with_known_roles, without_empty_turns
from data_desk.repairs.words import without_control_tokens, without_invisible, without_thoughts
from lora_trainer.data.formats import read_row

RowRepair = Callable[[dict[str, Any]], dict[str, Any]]
"""A row -> the mended one, or itself where there is nothing to mend."""
ROW_REPAIRS: dict[str, RowRepair] = {
    "roles": with_known_roles,
    "invisible": without_invisible,
    "thoughts": without_thoughts,
    "control_tokens": without_control_tokens,
    "empty_turns": without_empty_turns,
    "two_of_one_side": with_joined_turns,
    "unanswered": ended_by_an_answer,
}
TOO_LONG = "too_long"
"""The repair that needs to be told how long a row may be."""
JSON_REPAIRS = (
    "json_quotes", "json_marks", "json_single", "json_commas", "json_bracket", "json_breaks", "json_two", "spread",
)  # fmt: skip
REPAIRS = ("encoding", *JSON_REPAIRS, "array", *ROW_REPAIRS, TOO_LONG, "duplicates")
"""Of each there is a text `mend.<name>`."""
_ROUNDS = 8
"""One repair may make another one necessary: the last turn is cut, and the one before was the user's, too."""


@dataclass(frozen=True)
class Used:
    """A repair that a row needed, and the row before and after it."""

    repair: str
    before: dict[str, Any]
    after: dict[str, Any]


def mended_row(
    row: dict[str, Any], without: Collection[str] = (), fits: Fits | None = None
) -> tuple[dict[str, Any], list[Used]]:
    """The row that the rules (but for those in `without`) make of one, and which of them were needed.

    A row that no rule makes whole stays as it is. Without `fits` none is too long.
    """
    now, used = row, dict[str, Used]()
    for _ in range(_ROUNDS):
        before = now
        for name, mends in ROW_REPAIRS.items():
            if name in without:
                continue
            after = mends(now)
            if after is not now:
                used.setdefault(name, Used(name, now, after))
                now = after
        if now is before:
            break
    if used and read_row(now).faults:
        return row, []
    if fits is not None and TOO_LONG not in without:
        # the last one: all others change how long it is
        cut = cut_to_fit(now, fits)
        if cut is not now:
            used[TOO_LONG] = Used(TOO_LONG, now, cut)
            now = cut
    return now, list(used.values())
