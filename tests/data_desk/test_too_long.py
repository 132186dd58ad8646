"""Rows too long are cut behind the last answer that fits, and nothing else of them changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data_desk.mending import Mended, mend
from data_desk.repairs.too_long import cut_to_fit
from lora_trainer.data.formats import Row, read_row

MOST = 30


def fits(row: Row) -> bool:
    """A training that counts characters: up to the last answer that is learnt, and no more than `MOST`."""
    answers = [at for at, message in enumerate(row.messages) if message["role"] == "assistant"]
    learnt = [at for number, at in enumerate(answers) if number not in row.unlearnt]
    return not learnt or sum(len(message["content"]) for message in row.messages[: learnt[-1] + 1]) <= MOST


def turn(role: str, length: int, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": "字" * length, **more}


def talk(*lengths: int) -> list[dict[str, Any]]:
    return [turn(("user", "assistant")[at % 2], length) for at, length in enumerate(lengths)]


def mended(*rows: dict[str, Any], without: tuple[str, ...] = ()) -> Mended:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return mend(Path("train.jsonl"), lines.encode(), without, fits)


@pytest.mark.parametrize(
    ("turns", "left"),
    [
        (talk(5, 5, 5, 5, 5, 5), 6),
        (talk(5, 5, 5, 5, 5, 6), 4),
        (talk(5, 5, 5, 5, 11, 1, 1, 1), 4),
        (talk(5, 5, 30, 1), 2),
        (talk(10, 20, 1, 1), 2),
        ([turn("system", 10), *talk(5, 5, 5, 5, 5, 5)], 5),
        (talk(15, 16, 1, 1), 4),
        ([turn("system", 30), *talk(1, 1)], 3),
    ],
)
def test_a_row_ends_with_the_last_answer_that_fits_and_stays_where_none_does(
    turns: list[dict[str, Any]], left: int
) -> None:
    row = {"messages": turns, "style": "轻"}
    cut = cut_to_fit(row, fits)
    assert cut == {"messages": turns[:left], "style": "轻"} and (cut is row) == (left == len(turns))


def test_of_a_hundred_turns_as_many_stay_as_fit() -> None:
    for most in range(2, 60, 2):
        row = {"conversations": [{"from": t["role"], "value": t["content"]} for t in talk(*[1] * 200)]}
        cut = cut_to_fit(row, lambda read, most=most: len(read.messages) <= most)  # type: ignore[misc]
        assert cut["conversations"] == row["conversations"][:most]


def test_weights_stay_and_answers_that_arent_learnt_count_only_before_one_that_is() -> None:
    user, long = turn("user", 5), turn("assistant", 40, weight=0)
    kept = {"messages": [user, turn("assistant", 5, weight=1), user, long], "id": 7}
    assert cut_to_fit(kept, fits) is kept
    cut = cut_to_fit({**kept, "messages": [*kept["messages"], user, turn("assistant", 5)]}, fits)
    assert cut == kept
    # what would be left teaches nothing
    alone = {"messages": [user, turn("assistant", 5, weight=0), turn("user", 20), turn("assistant", 5)]}
    assert cut_to_fit(alone, fits) is alone


def test_a_question_with_a_history_becomes_the_last_one_that_fits() -> None:
    row = {
        "id": 3,
        "instruction": "问三",
        "input": "长" * 30,
        "output": "答三",
        "history": [["问一", "答一"], ["问二", "答二"]],
        "reasoning": "想",
        "style": "轻",
    }
    assert cut_to_fit(row, fits) == {
        "id": 3, "instruction": "问二", "input": "", "output": "答二", "history": [["问一", "答一"]], "style": "轻",
    }  # fmt: skip
    row["history"][1][1] = "长" * 30
    assert cut_to_fit(row, fits) == {
        "id": 3, "instruction": "问一", "input": "", "output": "答一", "history": [], "style": "轻",
    }  # fmt: skip
    row["history"][0][1] = "长" * 30
    assert cut_to_fit(row, fits) is row
    alone = {"question": "问" * 40, "answer": "答"}
    assert cut_to_fit(alone, fits) is alone


def test_a_row_is_never_cut_between_a_question_to_a_program_and_what_it_said() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    asked = [turn("user", 5), call, {"role": "tool", "content": "天气"}, turn("assistant", 5)]
    row = {"messages": [*talk(5, 5), *asked, *talk(30, 1)]}
    assert cut_to_fit(row, fits) == {"messages": row["messages"][:6]}
    row = {"messages": [*talk(5, 5), *asked[:3], turn("assistant", 30), *talk(1, 1)]}
    assert cut_to_fit(row, fits) == {"messages": row["messages"][:2]}


def test_the_file_tells_lines_and_words_and_what_fits_keeps_its_bytes() -> None:
    short, long = {"messages": talk(5, 5)}, {"messages": [*talk(4, 4), turn("user", 40), turn("assistant", 3)]}
    found = mended(short, long)
    assert [(change.repair, change.line) for change in found.changes] == [("too_long", 2)]
    assert len(found.changes[0].before) > len(found.changes[0].after)
    lines, before = found.after.splitlines(), found.before.splitlines()
    assert lines[0] == before[0] and json.loads(lines[1]) == {"messages": long["messages"][:2]}
    assert not mended(short, long, without=("too_long",)).is_changed
    assert not mend(Path("train.jsonl"), found.before).is_changed
    assert not mend(Path("train.jsonl"), found.after, fits=fits).is_changed


def test_it_is_measured_when_all_else_is_mended_and_equal_ones_go_afterwards() -> None:
    thoughts = {"messages": [turn("user", 5), {"role": "assistant", "content": "<think>" + "想" * 40 + "</think>嗯"}]}
    assert list(mended(thoughts).by_repair) == ["thoughts"]
    long = {"messages": talk(5, 5, 40, 1)}
    found = mended({"messages": talk(5, 5)}, long)
    assert list(found.by_repair) == ["too_long", "duplicates"] and len(found.after.splitlines()) == 1


def test_a_row_with_another_fault_is_not_cut() -> None:
    row = {"messages": [*talk(5, 5, 40, 1), turn("whoever", 3)]}
    assert read_row(row).faults and not mended(row).is_changed
