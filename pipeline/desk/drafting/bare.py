"""What of a model's words is the line that was asked for: no thoughts, labels, list marks, remarks, quotation marks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from data_desk.dialogue import clean
from data_desk.repairs.turns import OTHER_ROLES
from lora_trainer.data.names import ROLES

_NAMES = "|".join(sorted(map(re.escape, {*ROLES, *OTHER_ROLES}), key=len, reverse=True))
_LABEL = re.compile(rf"[*_【\[]*(?:{_NAMES})[*_】\]]*\s*[:：][*_]*\s*", re.IGNORECASE)
"""Who speaks, before what is said."""
_LIST_MARK = re.compile(r"(?:[-*•]\s+|\d{1,2}[.、)）]\s*(?!\d))")
_QUOTES = (("“", "”"), ("「", "」"), ("『", "』"), ("‘", "’"), ('"', '"'), ("'", "'"), ("＂", "＂"))


def bare_line(text: str, like: Sequence[str]) -> str:
    """The user's line, the first one where several came; as many quotation marks as in those that it is to be `like`.

    Empty where there is none.
    """
    lines = [line for line in map(clean, _behind_thoughts(text).split("\n")) if line]
    # "Here is a line:", where the line follows
    if len(lines) > 1 and lines[0].endswith((":", "：")):
        del lines[0]
    first = _LIST_MARK.sub("", lines[0], count=1) if lines and _LIST_MARK.match(lines[0]) else "".join(lines[:1])
    return _unquoted(_unlabelled(first), like)


def bare_answer(text: str, like: Sequence[str]) -> str:
    """The character's answer, up to where the model goes on with the user's next line; `like` as above."""
    first, *others = clean(_behind_thoughts(text)).split("\n")
    kept = [_unlabelled(first)]
    for line in others:
        if _LABEL.match(line):
            break
        kept.append(line)
    return _unquoted(clean("\n".join(kept)), like)


def _behind_thoughts(text: str) -> str:
    """Prompts may have opened the thought, so that its end alone is there; one without an end is all that came."""
    return text.rpartition("</think>")[2].partition("<think>")[0]


def _unlabelled(line: str) -> str:
    label = _LABEL.match(line)
    return clean(line[label.end() :]) if label else line


def _unquoted(text: str, like: Sequence[str]) -> str:
    if 2 * sum(map(_is_quoted, like)) > len(like):
        return text
    while _is_quoted(text):
        text = clean(text[1:-1])
    return text


def _is_quoted(text: str) -> bool:
    """Whether one pair of marks is around the whole text."""
    return any(
        len(text) > 1 and text[0] == first and text[-1] == last and not {first, last} & set(text[1:-1])
        for first, last in _QUOTES
    )
