"""Habits are found by counting, and a general assistant has none."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_desk.counting.habits import Habit, habits_of
from tests.support.project import ROOT

THINGS = ["灯", "伞", "信", "猫", "茶", "雨", "书", "门", "花", "糖"]
ASSISTANT = [
    "Yes, you can freeze soup. Let it cool first, then put it into a box with some room at the top.",
    "The capital of France is Paris. It lies on the Seine.",
    "To boil an egg, put it in cold water, bring it to the boil and wait for six minutes.",
    "I'm sorry, I can't look up today's weather. You can find it on a weather site.",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
    "Here are three tips: sleep enough, eat vegetables, and move every day.",
    "A haiku has three lines, of five, seven and five syllables.",
    "You can reset it in the settings. Choose Account, then Reset password.",
    "There are 24 hours in a day.",
    "It depends on your budget. A used one is cheaper, a new one has a warranty.",
]
ASSISTANT_ZH = [
    "可以的，汤放凉以后再冷冻，记得留一点空间。",
    "法国的首都是巴黎，位于塞纳河畔。",
    "煮鸡蛋要冷水下锅，水开后再煮六分钟。",
    "抱歉，我查不到今天的天气，你可以看看天气预报。",
    "光合作用把光能、水和二氧化碳变成糖和氧气。",
    "建议你早点休息，多喝水，每天运动。",
    "俳句一共三行，音节数是五、七、五。",
    "你可以在设置里重置密码。",
    "一天有二十四个小时。",
    "这取决于你的预算，二手的更便宜。",
]
EACH = list(zip(THINGS, ASSISTANT_ZH, strict=True))


def found(answers: list[str]) -> list[tuple[str, str]]:
    return [(habit.kind, habit.text) for habit in habits_of(answers)]


@pytest.mark.parametrize(
    ("answers", "first"),
    [
        (
            [f"（看着{thing}）{said}" for thing, said in EACH],
            ("begins_in_brackets", "（…）"),
        ),
        ([f"*looks {said[:3]}* {said}" for said in ASSISTANT], ("begins_in_brackets", "*…*")),
        ([f"Arrr, {said}" for said in ASSISTANT], ("begins", "Arrr")),
        ([f"主人，{said}" for said in ASSISTANT_ZH], ("begins", "主人")),
        ([f"{said} Squawk!" for said in ASSISTANT], ("ends", "Squawk!")),
        ([f"{said[:-1]}喵～" for said in ASSISTANT_ZH], ("ends", "喵～")),
        ([f"{thing}呢，{said}" for thing, said in EACH], ("says_last", "呢")),
        (
            [f"{said}（我的{thing}）啦{thing}" for thing, said in EACH],
            ("brackets", "（…）"),
        ),
        ([f"{said}{chr(0x1F600 + at)}" for at, said in enumerate(ASSISTANT_ZH)], ("emoji", "")),
        ([f"{thing}……{said}" for thing, said in EACH], ("symbol", "…")),
        (
            [f"{thing}, I tell you no lie, {said}" for thing, said in zip("abcdefghij", ASSISTANT, strict=True)],
            ("phrase", "i tell you no lie"),
        ),
        (
            [f"{thing}说到底嘛就是{said}" for thing, said in EACH],
            ("phrase", "说到底嘛就是"),
        ),
    ],
)
def test_what_the_answers_do_is_found(answers: list[str], first: tuple[str, str]) -> None:
    assert first in found(answers)
    (habit,) = [habit for habit in habits_of(answers) if (habit.kind, habit.text) == first]
    assert habit.share == 1.0 and all(map(habit.holds, answers))
    assert not any(map(habit.holds, [*ASSISTANT, *ASSISTANT_ZH]))


@pytest.mark.parametrize("answers", [ASSISTANT, ASSISTANT_ZH, ["", "  "], []])
def test_a_general_assistant_has_none(answers: list[str]) -> None:
    assert habits_of(answers) == ()


def test_a_habit_holds_in_half_of_the_answers_at_least() -> None:
    def answers(count: int) -> list[str]:
        return [f"（看着{thing}）{said}" for thing, said in EACH][:count] + ASSISTANT_ZH[count:]

    assert found(answers(4)) == []
    assert habits_of(answers(5)) == (Habit("begins_in_brackets", "（…）", 0.5),)


def test_the_examples_that_come_with_the_program_have_theirs() -> None:
    def answers(folder: str) -> list[str]:
        rows = (ROOT / folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
        messages = [message for row in rows for message in json.loads(row)["messages"]]
        return [message["content"] for message in messages if message["role"] == "assistant"]

    assert found(answers("data")) == [("begins_in_brackets", "（…）")]
    assert found(answers("data/demo")) == [("begins", "Arrr"), ("ends", "squawk!")]


def test_width_and_case_make_no_difference() -> None:
    habit = Habit("begins_in_brackets", "（…）", 1.0)
    assert habit.holds("(看着门) 那是门。") and not habit.holds("那是门（笑）。") and not habit.holds("（看着门")
    other = Habit("begins", "Arrr", 1.0)
    assert other.holds("ARRR! No.") and not other.holds("No, arrr.")


def test_of_very_many_answers_some_are_counted() -> None:
    many = [f"（看着{THINGS[at % 10]}）第{at}样。" for at in range(20001)]
    assert found(many)[0] == ("begins_in_brackets", "（…）")


@given(st.lists(st.text(max_size=30), max_size=12))
@example(["0¡0\U0003134b"])  # a character that is newer than Python's tables
@example(["À:À𠀀"])
@example(["一二三四\U0003134b", "一二三四\U0003134b"])
def test_whatever_the_answers_are_a_habit_holds_where_it_is_said_to(answers: list[str]) -> None:
    for habit in habits_of(answers):
        assert sum(map(habit.holds, answers)) == round(habit.share * len(answers))
        assert habit.share >= 0.5 and habit.text.isprintable()


def test_lines_and_control_characters_are_no_part_of_a_habit() -> None:
    answers = [f"好\n\x1b[31m的\n{said}" for said in ASSISTANT_ZH]
    assert found(answers)[0] == ("begins", "好")
