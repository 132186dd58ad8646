"""Copying: what was said before in the training answers, and what only sounds like them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_desk.counting.pieces import RUN, pieces, weight, windows
from pipeline.outcome.report_card.counting.copying import copied

ZH = ["（低头）今天下雨，店里没有客人，我把旧诗集又读了一遍。", "（笑）在的。"]
EN = ["Arrr, I live in the galley of the Marmalade, right between the stove and the spoons!"]


@pytest.mark.parametrize(
    ("answer", "whole", "run"),
    [
        (ZH[0], True, True),
        ("（低头）今天下雨，店里没有客人，我把旧诗集又读了一遍", True, True),
        (" （低头） 今天下雨, 店里没有客人, 我把旧诗集又读了一遍!", True, True),
        ("我说，今天下雨，店里没有客人，我把书合上了。", False, True),  # 12 characters: 今天下雨店里没有客人我把
        ("我说，今天下雨，店里没有客人，我走了。", False, False),  # 11 of them
        ("（笑）在的。", True, True),
        ("（笑）在的呀。", False, False),
        ("ARRR, I live in the galley of the marmalade right between the stove and the spoons", True, True),
        ("My home is in the galley of the Marmalade, right between the pans.", False, True),  # 9 words
        ("She sleeps in the galley of the Marmalade, right beside me.", False, False),  # 7 words
        ("", False, False),
        ("……", False, False),
    ],
)
def test_whole_answers_and_long_runs_are_found(answer: str, whole: bool, run: bool) -> None:
    assert copied([answer], ZH + EN) == [(whole, run)]


def test_characters_and_words_of_a_mixed_run_count_together() -> None:
    taught = ["周末我常听 Norah Jones 的老唱片，听到很晚。"]
    assert copied(["她说周末我常听 Norah Jones 的老唱片。"], taught) == [(False, True)]  # 9 characters, 2 words
    assert copied(["她说我常听 Norah Jones 的歌。"], taught) == [(False, False)]


def test_a_set_phrase_is_taught_and_not_copied() -> None:
    labels = ["positive", "negative"] * 20
    assert copied(["positive", "Negative."], labels) == [(False, False)] * 2
    phrase = "对不起，这个我真的不知道，你问问店长好不好呀？"
    rest = [f"第{at}本书在{at * 7}号架子上" for at in range(40)]
    assert copied([phrase], [phrase, phrase, phrase, *rest]) == [(False, False)]
    assert copied([phrase], [phrase, phrase, *rest]) == [(True, True)]  # twice may be a row written twice


@st.composite
def _texts(draw: st.DrawFn) -> list[str]:
    words = st.lists(st.sampled_from([*"雨书店我", "the", "cat"]), min_size=0, max_size=40)
    return [" ".join(text) for text in draw(st.lists(words, min_size=2, max_size=5))]


@given(_texts())
def test_a_run_is_found_exactly_where_one_stands_in_both(texts: list[str]) -> None:
    answer, *training = texts
    own = pieces(answer)

    def stands_in(text: str) -> bool:
        parts = pieces(text)
        return any(
            own[at : at + size] == parts[there : there + size]
            for at in range(len(own))
            for size in range(1, len(own) - at + 1)
            if sum(map(weight, own[at : at + size])) >= RUN
            for there in range(len(parts) - size + 1)
        )

    ((whole, run),) = copied([answer], training)
    times = training_times(own, training)
    if times <= 2:
        assert whole is (times > 0 and bool(own))
        assert run is (whole or any(map(stands_in, training)))


def training_times(own: list[str], training: list[str]) -> int:
    return sum(pieces(text) == own for text in training)


@given(st.lists(st.sampled_from([*"雨书店我", "the", "cat", "on"]), max_size=60))
def test_windows_are_the_shortest_long_runs_from_every_place(parts: list[str]) -> None:
    for at, window in enumerate(windows(parts)):
        held = window.split(" ")
        assert held == parts[at : at + len(held)]
        assert sum(map(weight, held)) >= RUN > sum(map(weight, held[:-1]))


def test_many_training_answers_are_looked_at_only_where_something_is_in_common() -> None:
    rng = random.Random(1)
    signs = [chr(0x4E00 + at) for at in range(2000)]
    many = ["".join(rng.choices(signs, k=30)) for _ in range(5000)]
    answers = [many[17], "我想说：" + many[4000][9:21], "我想说：" + many[4000][9:20], "今天没有这样的话"]
    assert copied(answers, many) == [(True, True), (False, True), (False, False), (False, False)]
