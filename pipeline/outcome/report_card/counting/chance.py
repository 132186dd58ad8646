"""What a handful of answers can tell: binomial and hypergeometric tails, exact."""

from __future__ import annotations

from math import comb

LEVEL = 0.05
"""A difference that chance alone makes less often than this counts as one."""


def at_most(count: int, of: int, share: float) -> float:
    """P(X <= count) of a binomial X: so few of `of` answers, where each one has it with probability `share`."""
    return sum(comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(count + 1))


def is_below(count: int, of: int, share: float) -> bool:
    """Whether `count` of `of` answers are so few that the true share is hardly `share`."""
    return at_most(count, of, share) < LEVEL


def has_fallen(before: int, of_before: int, after: int, of_after: int) -> bool:
    """Whether a count is lower than another beyond chance: Fisher's exact test, one-sided."""
    return _fisher(before, of_before, after, of_after) < LEVEL


def apart(of: int) -> int | None:
    """By how many answers two counts of `of` each have to differ, one of them being all, to differ beyond chance
    (Fisher's exact test, two-sided: half of LEVEL on each side, as both margins are alike); None where none does."""
    return next((less for less in range(1, of + 1) if _fisher(of, of, of - less, of) < LEVEL / 2), None)


def _fisher(before: int, of_before: int, after: int, of_after: int) -> float:
    """P(as few in the second sample or fewer) where both are drawn from one urn."""
    total, having = of_before + of_after, before + after
    ways = sum(comb(having, k) * comb(total - having, of_after - k) for k in range(after + 1) if k <= of_after)
    return ways / comb(total, of_after)
