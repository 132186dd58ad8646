"""Which rows become validation rows: whole groups of those that say nearly the same, by a seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from data_desk.counting.near import Groups, can_be_found, near_groups
from data_desk.counting.pieces import pieces
from data_desk.statistics import words_of
from lora_trainer.data.dataset import SPLIT_LEAST, SPLIT_MOST, SPLIT_SHARE
from lora_trainer.data.dialogues import Dialogue


def proposed(rows: int) -> int:
    """How many are split off where nobody says otherwise: as many as a training would take by itself."""
    return min(SPLIT_MOST, max(SPLIT_LEAST, round(rows * SPLIT_SHARE)))


def split_off(dialogues: Sequence[Dialogue], wanted: int, seed: int) -> list[int]:
    """The lines of at most so many rows, in order; rows of one group are all among them or none.

    A group is chosen by a hash of its rows, not by its place: where rows are added, most of the choice stays.
    """
    chosen: list[int] = []
    groups = sorted(groups_of(dialogues), key=lambda group: min(_hash(dialogues[at], seed) for at in group))
    for group in groups:
        if len(chosen) + len(group) <= wanted:
            chosen += [dialogues[at].line for at in group]
    return sorted(chosen)


def groups_of(dialogues: Sequence[Dialogue]) -> list[list[int]]:
    """Places of rows that are nearly the same, or in which the user says the same."""
    groups = Groups(len(dialogues))
    if can_be_found():
        for near in near_groups([words_of(dialogue) for dialogue in dialogues]):
            for at in near[1:]:
                groups.join(near[0], at)
    first: dict[str, int] = {}
    for at, dialogue in enumerate(dialogues):
        asked = "\n".join(m["content"] for m in dialogue.messages if m["role"] == "user")
        groups.join(first.setdefault(" ".join(pieces(asked)) or asked, at), at)
    return groups.all()


def _hash(dialogue: Dialogue, seed: int) -> bytes:
    return hashlib.sha256(json.dumps([seed, *dialogue.key]).encode()).digest()
