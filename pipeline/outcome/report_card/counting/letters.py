"""Letters of a script that the training answers hardly have: English in a Chinese character's answers, and the like."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from string import ascii_letters

HARDLY = 0.02
"""A script is foreign where less than this part of the training answers has a letter of it."""
_ASCII_LETTERS = frozenset(ascii_letters)


@cache
def script(character: str) -> str | None:
    """The script of a letter, by the first word of its Unicode name (LATIN, CJK, CYRILLIC); None for what is no letter,
    or a letter of several scripts (modifiers, category Lm)."""
    if unicodedata.category(character) not in ("Lu", "Ll", "Lt", "Lo"):
        return None
    first = unicodedata.name(character, "").partition(" ")[0]
    return {"IDEOGRAPHIC": "CJK", "KATAKANA-HIRAGANA": "KATAKANA"}.get(first, first) or None


def _scripts_of(text: str) -> set[str]:
    if text.isascii():
        return {"LATIN"} if not _ASCII_LETTERS.isdisjoint(text) else set()
    found = {script(character) for character in set(unicodedata.normalize("NFKC", text))}
    return {name for name in found if name is not None}


def words_of(text: str) -> set[tuple[str, str]]:
    """(script, letters without case) of every run of letters of one script."""
    plain = unicodedata.normalize("NFKC", text)
    runs = groupby(plain, script)
    return {(name, "".join(letters).casefold()) for name, letters in runs if name is not None}


class Scripts:
    """The scripts of the training answers."""

    def __init__(self, training: Sequence[str]) -> None:
        answers_with: Counter[str] = Counter()
        for text in training:
            answers_with.update(_scripts_of(text))
        self.usual = {name for name, count in answers_with.items() if count >= HARDLY * len(training)}
        """Those of a fiftieth of the answers or more."""
        seldom = set(answers_with) - self.usual
        self._known = {
            word for text in training if seldom & _scripts_of(text) for word in words_of(text) if word[0] in seldom
        }
        self.first = answers_with.most_common(1)[0][0] if answers_with else None
        """The one that most answers have letters of."""

    def foreign(self, answer: str, said_before: Iterable[str] = ()) -> list[str]:
        """The words of an answer in a foreign script, in order of the alphabet.

        A word that a training answer has, or that was `said_before` (question and system prompt), is none.
        """
        known = {word for text in said_before for _, word in words_of(text)}
        found = {(name, word) for name, word in words_of(answer) if name not in self.usual}
        return sorted(word for name, word in found - self._known if word not in known)
