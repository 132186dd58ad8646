"""Tables (CSV, TSV, Excel's sheets) with a column for what the user says and one for what the character says.

CSV as in RFC 4180, whatever separates the columns; sheets as in data_desk/workbook.py, of which one is read. The names
of the columns are those of the training formats that docs of Hugging Face trl ("Dataset formats") and LLaMA-Factory
(data/README.md) have, and the same in Chinese.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

from data_desk.chat import in_pieces
from data_desk.dialogue import Choices, Dialogue, Tally
from data_desk.grid import Grid
from data_desk.importers import wechat_csv
from data_desk.sample import Sample
from lora_trainer.errors import DecisionNeeded

IS_GUESS = True
NAMES = {
    "user": (
        "user", "question", "prompt", "instruction", "query", "input", "human", "q", "问", "问题", "用户", "提问",
        "指令", "用户说",
    ),
    "character": (
        "assistant", "character", "answer", "completion", "response", "output", "reply", "bot", "a", "答", "回答",
        "答案", "角色", "助手", "回复", "角色说",
    ),
    "system": ("system", "system prompt", "system_prompt", "系统", "系统提示词", "人设"),
    "dialogue": (
        "dialogue", "dialog", "conversation", "conversation_id", "conversation id", "session", "session_id", "对话",
        "对话编号", "会话", "会话编号",
    ),
}  # fmt: skip
"""What a column is for -> its names."""
NEEDED = ("user", "character")
_LOOKED_AT = 50
_LONGEST_HEAD = 40
_ALIKE = 0.8
"""Of the rows, those that must have as many cells as there are heads."""


def reads(sample: Sample) -> bool:
    """Whether it has heads that can be names, and rows below them that are as long."""
    return not wechat_csv.reads(sample) and any(map(_is_table, sample.tables))


def table_of(sample: Sample, given: Mapping[str, str]) -> Grid:
    """The sheet that is read: the first that has the given columns, and both that are needed; else the first table."""
    named = {head.casefold() for head in given.values()}

    def fits(table: Grid) -> tuple[int, bool]:
        heads = {head.casefold() for head in table.heads}
        return len(named & heads), all(part in _columns_of(table, given) for part in NEEDED)

    return max(filter(_is_table, sample.tables), key=fits)


def _is_table(table: Grid) -> bool:
    heads = table.heads
    if len(set(heads)) < len(heads) or not heads:
        return False
    if any(not head or len(head) > _LONGEST_HEAD or not _is_name(head) for head in heads):
        return False
    lengths = table.lengths(_LOOKED_AT)
    return len(lengths) > 0 and sum(length == len(heads) for length in lengths) >= _ALIKE * len(lengths)


def dialogues(sample: Sample, choices: Choices, tally: Tally) -> Iterator[Dialogue]:
    """One dialogue a row, or where there is a column for it, one for all neighbours with the same number.

    Raises DecisionNeeded where it isn't known which columns are the user's and the character's.
    """
    table = table_of(sample, choices.columns)
    columns = _columns_of(table, choices.columns)
    if missing := [part for part in NEEDED if part not in columns]:
        heads = ", ".join(table.heads)
        raise DecisionNeeded(
            "error.import.columns", flag="--columns", file=sample.name, missing=missing[0], heads=heads
        )

    def number(numbered: tuple[int, dict[str, str]]) -> object:
        at, record = numbered
        return record[columns["dialogue"]] if "dialogue" in columns else at

    for _, records in groupby(enumerate(table.records()), key=number):
        spoken, system = [], ""
        for _, record in records:
            system = system or (record[columns["system"]] if "system" in columns else "")
            pair = [(role, record[columns[part]]) for role, part in (("user", "user"), ("assistant", "character"))]
            if any(word in text for word in choices.drop for _, text in pair):
                tally.left["dropped"] += 1
                continue
            spoken += pair
        yield from in_pieces(spoken, tally, system)


def columns_of(sample: Sample, given: Mapping[str, str]) -> dict[str, str]:
    """What a column is for -> its head: as given, where it has such a one, else by its name."""
    return _columns_of(table_of(sample, given), given)


def _columns_of(table: Grid, given: Mapping[str, str]) -> dict[str, str]:
    by_name = {head.casefold(): head for head in reversed(table.heads)}
    found = {part: by_name[head.casefold()] for part, head in given.items() if head.casefold() in by_name}
    for part, names in NAMES.items():
        free = [by_name[name] for name in names if name in by_name and by_name[name] not in found.values()]
        if part not in found and free:
            found[part] = free[0]
    return found


def _is_name(head: str) -> bool:
    return any(character.isalpha() for character in head) and not any(mark in head for mark in ":：。！？!?\n")
