"""Nearly the same is what has most of its shingles in common; many alike take no longer than many different ones."""

from __future__ import annotations

import random

import pytest

from data_desk.counting.near import ALIKE, Groups, are_alike, near_groups, shingles

WORDS = "雨书灯伞信猫茶门花糖风山水月云星雪鱼鸟虫"


def text(seed: int, length: int = 60) -> str:
    chance = random.Random(seed)
    return "".join(chance.choice(WORDS) for _ in range(length))


def test_likeness_is_the_part_of_shingles_in_common() -> None:
    assert shingles("一二三四") == {"一二三", "二三四"} and shingles("Ab, C!") == {"abc"} and shingles("……") == {"……"}
    # 8 shingles each, 7 of them in common: 7 of 9
    assert are_alike("一二三四五六七八九十", "一二三四五六七八九百")
    # 2 of 4
    assert not are_alike("一二三四五", "一二三四五六七")


def test_case_blanks_and_punctuation_make_no_difference() -> None:
    assert near_groups(["Rain, again!", "nothing of that kind", "rain again"]) == [[0, 2]]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_found_is_what_comparing_every_pair_finds(seed: int) -> None:
    texts = [text(seed * 100 + at) for at in range(40)]
    # every third one once more, with one character in the middle or an end changed
    halves = [one[:40] + other[40:] for one, other in zip(texts[1::3], texts[2::3], strict=False)]
    texts += [one[:30] + "龙" + one[31:] if at % 2 else one + "呀" for at, one in enumerate(texts[::3])]
    # and some that are half the same, which many of their bands are, too
    texts += halves
    groups = Groups(len(texts))
    for one in range(len(texts)):
        for other in range(one):
            if are_alike(texts[one], texts[other]):
                groups.join(one, other)
    assert near_groups(texts) == groups.of_several()
    assert len(groups.of_several()) == 14


def test_a_thousand_that_are_alike_are_one_group_and_held_against_few() -> None:
    texts = [text(1) + WORDS[at % 20] for at in range(3000)]
    assert near_groups(texts) == [list(range(3000))]


def test_the_same_texts_make_the_same_groups_whatever_stands_between() -> None:
    assert near_groups([text(1), text(2), text(1) + "呀"]) == [[0, 2]]
    assert near_groups([text(1), *map(text, range(10, 2000)), text(1) + "呀"]) == [[0, 1991]]
    assert near_groups([]) == [] and 0 < ALIKE < 1
