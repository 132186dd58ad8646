"""Tails of binomial and hypergeometric distributions, held against values from tables and against each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.outcome.report_card.counting.chance import apart, at_most, has_fallen, is_below


def test_binomial_tails_are_those_of_the_tables() -> None:
    assert at_most(7, 10, 0.9) == pytest.approx(0.0702, abs=5e-5)
    assert at_most(3, 20, 0.4) == pytest.approx(0.0160, abs=5e-5)
    assert at_most(10, 10, 0.3) == pytest.approx(1.0)


def test_with_ten_answers_a_difference_is_one_from_five_on() -> None:
    # Fisher's exact test, two-sided: 10/10 against 5/10 has p = 0.0325, against 6/10 p = 0.0867
    assert apart(10) == 5
    assert [apart(of) for of in (2, 3, 4, 5, 20, 40)] == [None, None, 4, 4, 5, 6]


def test_a_fall_is_one_beyond_chance() -> None:
    assert has_fallen(9, 10, 4, 10) and not has_fallen(9, 10, 6, 10) and not has_fallen(4, 10, 9, 10)


@given(st.integers(1, 40), st.floats(0, 1))
def test_more_of_them_are_never_further_below(of: int, share: float) -> None:
    below = [is_below(count, of, share) for count in range(of + 1)]
    assert below == sorted(below, reverse=True) and not below[-1]
