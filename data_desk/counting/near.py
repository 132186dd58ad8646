"""Texts that are nearly the same, found by MinHash (Broder 1997) in bands (Leskovec, Rajaraman, Ullman, chapter 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec

from data_desk.counting.pieces import pieces

ALIKE = 0.7
"""Texts with this part of their shingles in common (those of both, of those of either) are nearly the same."""
SHINGLE = 3
"""Characters of a shingle; punctuation, blanks and case count for nothing."""
_HASHES, _BAND = 64, 4
"""Hashes of a text, and how many of them make a band: 98.8 % of the pairs that are 0.7 alike have a band in common."""
_SEED = 42
_CHUNK = 1000
"""Texts whose shingles are held at a time."""


def can_be_found() -> bool:
    """Whether the library is there that hashes them: it has no wheel for some systems."""
    return find_spec("rensa") is not None


def near_groups(texts: Sequence[str]) -> list[list[int]]:
    """The places of texts that are nearly the same, a list for each group of two or more, all in order.

    A text is held against the first one that has a band in common with it, so that many alike take no longer than many
    that aren't.
    """
    from rensa import RMinHash

    groups = Groups(len(texts))
    first_with: dict[int, int] = {}
    for start in range(0, len(texts), _CHUNK):
        some = [sorted(shingles(text)) for text in texts[start : start + _CHUNK]]
        digests = RMinHash.digests_from_token_sets(some, _HASHES, _SEED)
        for at, digest in enumerate(digests, start):
            for band in range(0, _HASHES, _BAND):
                other = first_with.setdefault(hash((band, *digest[band : band + _BAND])), at)
                if groups.of(other) != groups.of(at) and are_alike(texts[other], texts[at]):
                    groups.join(other, at)
    return groups.of_several()


def are_alike(one: str, other: str) -> bool:
    """Whether two texts are nearly the same."""
    return is_like_one_of(one, [other])


def is_like_one_of(text: str, others: Iterable[str]) -> bool:
    """Whether a text is nearly the same as one of others."""
    mine = shingles(text)
    return any(len(mine & theirs) >= ALIKE * len(mine | theirs) for theirs in map(shingles, others))


def shingles(text: str) -> set[str]:
    """All runs of three characters of a text; of a shorter one the text itself."""
    plain = "".join(pieces(text)) or text
    return {plain[at : at + SHINGLE] for at in range(max(1, len(plain) - SHINGLE + 1))}


class Groups:
    """Places 0 to `count` - 1, each a group of its own until it is joined to another."""

    def __init__(self, count: int) -> None:
        self._first = list(range(count))

    def of(self, place: int) -> int:
        """The first place of a place's group."""
        while self._first[place] != place:
            self._first[place] = self._first[self._first[place]]
            place = self._first[place]
        return place

    def join(self, one: int, other: int) -> None:
        """Make the groups of two places one."""
        first, second = sorted((self.of(one), self.of(other)))
        self._first[second] = first

    def all(self) -> list[list[int]]:
        """Every group, in the order of their first places."""
        found: dict[int, list[int]] = {}
        for place in range(len(self._first)):
            found.setdefault(self.of(place), []).append(place)
        return list(found.values())

    def of_several(self) -> list[list[int]]:
        """Those with two places or more."""
        return [group for group in self.all() if len(group) > 1]
