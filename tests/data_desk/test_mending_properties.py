"""Mending as a whole: what is fine keeps its bytes, mending twice is mending once, and nothing makes it fall."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from data_desk.mending import mend
from data_desk.repairs.contents import with_words
from data_desk.repairs.order import ROW_REPAIRS
from lora_trainer.data.formats import read_row

FILE = Path("train.jsonl")
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
PIECES = st.sampled_from(
    [
        "“你好”",
        "，",
        "：",
        "<think>",
        "</think>",
        "<|im_end|>",
        "</s>",
        "<s>",
        "\u200b",
        " ",
        "",
        '"',
        "'",
        "\\",
        "{",
        "}]",
    ]
)
ROLES = st.sampled_from(["system", "user", "assistant", "用户", "人类", "bot", "asistant", "tool", "whoever"])


def fine(row: dict[str, Any]) -> bool:
    return not read_row(row).faults and all(mends(row) is row for mends in ROW_REPAIRS.values())


def dialogue(texts: list[str]) -> dict[str, Any]:
    pairs = zip(("user", "assistant") * len(texts), [*texts, "end"][: len(texts) // 2 * 2 + 2], strict=False)
    return {"messages": [{"role": role, "content": content} for role, content in pairs]}


CLEAN = st.lists(WORDS, min_size=2, max_size=5).map(dialogue).filter(fine)
TURN = st.fixed_dictionaries(
    {"role": ROLES, "content": st.lists(st.one_of(WORDS, PIECES), max_size=4).map("".join)},
    optional={"weight": st.sampled_from([0, 1]), "name": st.sampled_from(["a", "b"])},
)
ROW = st.one_of(
    st.fixed_dictionaries({"messages": st.lists(TURN, max_size=5)}),
    st.fixed_dictionaries({"prompt": WORDS | PIECES, "completion": WORDS | PIECES}),
    st.fixed_dictionaries({"instruction": WORDS, "output": PIECES, "history": st.lists(st.lists(WORDS, max_size=3))}),
)


@given(st.lists(CLEAN, min_size=1, max_size=5, unique_by=json.dumps), st.booleans(), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=300, deadline=None)
def test_mending_a_clean_file_changes_no_byte(rows: list[dict[str, Any]], plain: bool, end: str) -> None:
    data = "".join(json.dumps(row, ensure_ascii=plain) + end for row in rows).encode()
    found = mend(FILE, data)
    assert not found.changes and found.after is data and not found.faults


@given(st.lists(ROW, min_size=1, max_size=5), st.randoms(use_true_random=False))
@settings(max_examples=500, deadline=None)
def test_mending_twice_is_mending_once(rows: list[dict[str, Any]], chance: random.Random) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    for number, line in enumerate(lines):
        at = chance.randrange(len(line) + 1)
        slip = chance.choice(["", "", ",", "“", "”", "，", "：", "'", "}", "{", "\t", "\u3000"])
        lines[number] = line[:at] + slip + line[at + chance.choice([0, 1]) :]
    once = mend(FILE, "\n".join(lines).encode())
    twice = mend(FILE, once.after)
    assert not twice.changes and twice.after == once.after
    assert bool(once.changes) == once.is_changed


@given(ROW)
@settings(max_examples=300, deadline=None)
def test_a_row_is_mended_whole_or_not_at_all_and_one_that_is_read_stays_readable(row: dict[str, Any]) -> None:
    data = json.dumps(row).encode()
    found = mend(FILE, data)
    assert not found.is_changed or not found.faults
    assert bool(read_row(row).faults) or not found.faults


@given(
    st.one_of(
        st.binary(max_size=200), st.text(st.sampled_from("{}[]\"“”，：,: \n\t\\'ab1u"), max_size=120).map(str.encode)
    )
)
@settings(max_examples=500, deadline=None)
def test_nothing_makes_it_fall(data: bytes) -> None:
    once = mend(FILE, data)
    assert mend(FILE, once.after).after == once.after
    assert isinstance(once.faults, list)


@given(ROW)
@settings(max_examples=100, deadline=None)
def test_words_that_stay_the_same_leave_the_row_itself(row: dict[str, Any]) -> None:
    assert with_words(row, lambda _, text: text) is row
