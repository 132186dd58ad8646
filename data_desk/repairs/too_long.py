"""Rows too long for a training: what comes after the last answer that still fits is left off."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from data_desk.repairs.contents import ends_of_answers, up_to
from lora_trainer.data.formats import Row, read_row

Fits = Callable[[Row], bool]
"""Whether a training takes a row as long as this one; one in which no answer is learnt always fits."""


def cut_to_fit(row: dict[str, Any], fits: Fits) -> dict[str, Any]:
    """The row up to the last answer with which it fits.

    The row itself where it has faults, where it fits, and where no answer would be left that is learnt.
    """
    read = read_row(row)
    if read.faults or fits(read):
        return row

    def is_too_much(end: int) -> bool:
        return not _is_taken(read_row(up_to(row, end)), fits)

    # the longer, the more tokens: found in few steps, however many turns there are
    ends = ends_of_answers(row)
    fitting = bisect_left(ends, True, key=is_too_much)
    cut = up_to(row, ends[fitting - 1]) if fitting else row
    return cut if cut is not row and _is_learnt(read_row(cut)) else row


def _is_taken(read: Row, fits: Fits) -> bool:
    return not read.faults and fits(read)


def _is_learnt(read: Row) -> bool:
    answers = sum(message["role"] == "assistant" for message in read.messages)
    return answers > len(read.unlearnt)
