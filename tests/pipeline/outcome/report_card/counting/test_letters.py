"""Letters of scripts that the training answers hardly have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.outcome.report_card.counting.letters import Scripts, script

ZH = [f"（低头）第{at}本书在那边。" for at in range(99)] + ["密码是 WiFi2024。"]
EN = [f"Arrr, barrel {at} be over there!" for at in range(100)]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("（脸红）silly，你真是的。", ["silly"]),
        ("林栀的栀读作 bó。", ["bó"]),
        ("这是дом。", ["дом"]),
        ("さくら、サクラ，好看。", ["さくら", "サクラ"]),
        ("ｓｉｌｌｙ", ["silly"]),
        ("店里有 wifi，9:30 开门，100%。", []),  # as in a training answer; digits and signs are no letters
        ("（笑）……！～♪😊", []),
        ("繁體字也是漢字。", []),
    ],
)
def test_words_in_other_letters_are_found_in_chinese(answer: str, words: list[str]) -> None:
    assert Scripts(ZH).foreign(answer) == words


@pytest.mark.parametrize(
    ("answer", "words"),
    [("Arrr, the 书店 be closed.", ["书店"]), ("A naïve café — 5 °C, fine!", []), ("𝐁old be bold", [])],
)
def test_words_in_other_letters_are_found_in_english(answer: str, words: list[str]) -> None:
    assert Scripts(EN).foreign(answer) == words


def test_a_word_that_the_question_has_is_not_the_models_own() -> None:
    scripts = Scripts(ZH)
    assert scripts.foreign("我不是 AI 呀。") == ["ai"]
    assert scripts.foreign("我不是 AI 呀。", ["你是AI吗？"]) == []
    assert scripts.foreign("我不是 AI，也不是 robot。", ["你是AI吗？"]) == ["robot"]


def test_a_script_of_a_fiftieth_of_the_answers_is_usual() -> None:
    assert Scripts([*ZH[:98], "OK 的", "TV 坏了"]).usual == {"CJK", "LATIN"}
    assert Scripts([*ZH[:99], "OK 的"]).usual == {"CJK"}


def test_letters_have_a_script_and_nothing_else_has() -> None:
    assert [script(one) for one in "a書ぎカЖᄀ"] == ["LATIN", "CJK", "HIRAGANA", "KATAKANA", "CYRILLIC", "HANGUL"]
    assert [script(one) for one in "1，😊 ー々"] == [None] * 6


@given(st.lists(st.text(), min_size=1), st.text())
def test_what_was_taught_is_never_foreign(training: list[str], more: str) -> None:
    scripts = Scripts([*training, more])
    assert all(scripts.foreign(text) == [] for text in [*training, more])
