"""Answers that go round in circles, and ones that only stammer, laugh or list."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_desk.counting.pieces import RUN, pieces, weight
from pipeline.outcome.report_card.counting.repetition import repeats_itself
from tests.support.project import ROOT


@pytest.mark.parametrize(
    "text",
    [
        "我喜欢你。" * 3,
        "（低头）我、我不知道该说什么。你呢？我不知道该说什么。你呢？我不知道该说什么。你呢？",
        "好的" * 10,
        "啊" * 20,
        "I do not know. " * 3,
        "the cat and " * 9,
        "No! " * 8,
        "……" * 10,
        "😊" * 25,
        "今天我找到了一把红伞。今天我找到了一盆薄荷。今天我找到了三封信。今天我找到了半盒饼干。",
        "You can ask the captain about tea. You can ask the captain about bread. You can ask the captain about rum. "
        "You can ask the captain about cake.",
    ],
)
def test_circles_are_seen(text: str) -> None:
    assert repeats_itself(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "（低头）在、在的……好、好好……",
        "哈哈哈哈哈，真的吗？真的真的？",
        "对不起，对不起，真的对不起。",
        "No, no, no, no! Not again.",
        "One, two, three; one, two, three.",
        "……",
        "---",
        "买了三样东西：一把红伞，一盆薄荷，半盒饼干。红伞给妹妹，薄荷放窗台，饼干我自己吃，你要不要尝一块？",
    ],
)
def test_stammering_laughter_and_lists_are_none(text: str) -> None:
    assert not repeats_itself(text)


@pytest.mark.parametrize("folder", ["data", "data/demo"])
def test_none_of_the_answers_that_come_with_the_program_is_one(folder: str) -> None:
    rows = [json.loads(line) for line in (ROOT / folder / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    answers = [message["content"] for row in rows for message in row["messages"] if message["role"] == "assistant"]
    assert [answer for answer in answers if repeats_itself(answer)] == []


@given(st.lists(st.sampled_from([*"雨书店我", "the", "cat"]), min_size=1, max_size=12), st.integers(3, 6), st.text())
def test_whatever_stands_thrice_and_is_long_is_one(phrase: list[str], times: int, before: str) -> None:
    said = f"{before} . {' '.join(phrase * times)}"
    if sum(map(weight, phrase)) * 3 >= RUN:
        assert repeats_itself(said)


@given(st.permutations([chr(0x4E00 + at) for at in range(60)]))
def test_a_text_in_which_nothing_stands_twice_is_none(characters: list[str]) -> None:
    assert len(pieces("".join(characters))) == 60
    assert not repeats_itself("".join(characters))
