"""What is told of a file is what a reader would count."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_desk.counting.languages import shares
from data_desk.counting.situations import SITUATIONS, situations_of
from data_desk.statistics import BUCKETS
from tests.data_desk.rows import opened, row

ANSWERS = ["（点头）" + "啊" * count for count in (1, 2, 3, 17, 17, 30)]


def test_rows_answers_and_their_lengths_are_counted_by_hand(tmp_path: Path) -> None:
    rows = [row(f"问题{at}", answer) for at, answer in enumerate(ANSWERS)]
    rows[0] = row("一", ANSWERS[0], "二", "（点头）" + "哦" * 13)
    found = opened(tmp_path, rows, [row("别的", "（点头）别的")]).statistics
    assert (found.rows, found.answers, found.val_rows) == (6, 7, 1)
    lengths = found.lengths
    assert lengths is not None
    # answers of 5, 17, 6, 7, 21, 21 and 34 characters: parts of 3.75 from 5 on
    assert lengths.buckets == (3, 0, 0, 1, 2, 0, 0, 1)
    assert (lengths.average, lengths.longest, lengths.line) == (pytest.approx(111 / 7), 34, 6)


def test_an_answer_that_isnt_learnt_is_not_counted(tmp_path: Path) -> None:
    marked = row("一", "不学这一句", "二", "学这一句")
    marked["messages"][1]["weight"] = 0  # type: ignore[index]
    found = opened(tmp_path, [marked]).statistics
    assert found.answers == 1 and found.lengths is not None and found.lengths.longest == 4


def test_rows_with_an_answer_against_the_habit_are_named_by_their_lines(tmp_path: Path) -> None:
    rows = [row(f"问{at}", f"（看着{thing}）那是{thing}。") for at, thing in enumerate("灯伞信猫茶雨书门花糖")]
    rows[3] = row("问", "那是猫。")
    rows[7] = row("问", "（看着门）那是门。", "再问", "没有门。")
    (kept,) = opened(tmp_path, rows).statistics.habits[:1]
    assert (kept.habit.kind, kept.habit.text, kept.against) == ("begins_in_brackets", "（…）", (4, 8))
    assert kept.habit.share == pytest.approx(9 / 11)


def test_equal_rows_rows_nearly_equal_and_rows_in_both_files_are_told_apart(tmp_path: Path) -> None:
    story = "今天下雨了，我把窗边的书往里面挪了挪，你要不要进来坐一会儿"
    rows = [
        row("讲讲今天", story),
        row("再来", "（笑）好的，这是完全不同的一句话"),
        row("讲讲今天", story),
        row("讲讲今天", story + "呀"),
        row("一个问题", "没有人说过的话在这里写着"),
    ]
    found = opened(tmp_path, rows, [row("没有的", "没有"), row("再来", "（笑）好的，这是完全不同的一句话")]).statistics
    assert found.duplicates == ((1, 3),)
    assert found.near == ((1, 4),)
    assert found.in_both == ((2, 2),)


def test_without_the_library_rows_that_are_nearly_equal_are_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_desk.counting.near.find_spec", lambda _: None)
    found = opened(tmp_path, [row("a", "b"), row("a", "b")]).statistics
    assert found.near is None and found.duplicates == ((1, 2),)


def test_system_prompts_that_differ_and_rows_without_are_told(tmp_path: Path) -> None:
    rows = [row(str(at), "x", system=system) for at, system in enumerate(("A", "B", "A", "", "C"))]
    systems = opened(tmp_path, rows).statistics.systems
    assert (systems.common, systems.different, systems.without, systems.lines) == ("A", 3, 1, (2, 5))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("greeting", ("早上好呀", "早。")),
        ("greeting", ("Hello there", "Yes?")),
        ("farewell", ("那我先走了", "好。")),
        ("farewell", ("Good night!", "Sleep well.")),
        ("refusal", ("给我看看日记", "不、不行……")),
        ("refusal", ("Lend me money", "No way!")),
        ("not_knowing", ("股票怎么买", "我不知道呀")),
        ("not_knowing", ("Who won?", "I don’t know.")),
        ("anger", ("你在生气吗", "哼")),
        ("anger", ("Why?", "I'm FURIOUS.")),
    ],
)
def test_a_situation_is_known_by_the_words_of_whom_it_depends_on(name: str, said: tuple[str, str]) -> None:
    messages = [{"role": "user", "content": said[0]}, {"role": "assistant", "content": said[1]}]
    assert situations_of(messages) == {name}


def test_a_system_prompt_is_no_situation_and_small_talk_is_none(tmp_path: Path) -> None:
    rows = [row("你喜欢什么书", "诗集。别难过，不要紧的。", system="你好，我不知道，再见")]
    found = opened(tmp_path, rows).statistics
    assert found.missing == tuple(situation.name for situation in SITUATIONS)


def test_languages_are_told_by_letters_of_which_a_chinese_one_says_as_much_as_three() -> None:
    assert shares(["我用 Python 写"]) == {"zh": 9 / 15, "en": 6 / 15, "other": 0.0}
    assert shares(["Привет", "abcdef"]) == {"zh": 0.0, "en": 0.5, "other": 0.5}
    assert shares(["……", "123"]) == {}


def test_topics_that_rows_name_themselves_are_counted(tmp_path: Path) -> None:
    rows = [row(str(at), "x", category=name) for at, name in enumerate(("书", "雨", "书"))]
    assert opened(tmp_path, rows).statistics.categories == {"书": 2, "雨": 1}


@given(st.lists(st.text(min_size=1, max_size=40).filter(str.strip), min_size=1, max_size=20))
def test_every_answer_lies_in_one_of_the_parts(tmp_path_factory: pytest.TempPathFactory, answers: list[str]) -> None:
    found = opened(tmp_path_factory.mktemp("rows"), [row("问", answer) for answer in answers])
    lengths = found.statistics.lengths
    if found.train:
        assert lengths is not None and len(lengths.buckets) == BUCKETS
        assert sum(lengths.buckets) == found.statistics.answers and lengths.buckets[0] > 0
