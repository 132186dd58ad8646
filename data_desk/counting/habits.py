"""The habits of the training answers, found by counting: how they begin and end, what they put into brackets, …

A habit holds in at least half of the training answers and is none of ordinary prose: it holds at most half as often in
pieces of general text that are as long as these answers. A general assistant's answers have none.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from data_desk.counting.general import LANGUAGES, general_text
from data_desk.counting.pieces import PIECE, PIECE_ALONE, pieces, weight

Kind = Literal["begins_in_brackets", "begins", "ends", "says_last", "brackets", "emoji", "symbol", "phrase"]
Feature = tuple[Kind, str]
"""What may be a habit: its kind and its folded text."""
PRIORITY: tuple[Kind, ...] = (
    "begins_in_brackets", "begins", "ends", "says_last", "brackets", "emoji", "symbol", "phrase"
)  # fmt: skip
"""Of habits that hold in the same answers the first of these is told."""
PLACES: tuple[tuple[Kind, ...], ...] = (("begins_in_brackets", "begins"), ("ends", "says_last"))
"""Kinds that say the same of the same place."""
HOLDS = 0.5
"""The part of the training answers that makes it a habit."""
ALIKE = 0.9
"""Habits of one place, or one within the other, that hold in the same answers to this part (those of both, of those
of either) are one."""
MOST = 3
"""Habits that are told."""
COUNTED = 2000
"""Of more training answers so many are counted, evenly spread: enough to know a share to two hundredths."""
LONGEST = 6
"""Pieces and symbols that an opening or an end has at most."""
PHRASE, LONGEST_PHRASE = 8, 12
"""What a phrase weighs at least (four characters or three words), and the pieces that are told of it at most."""
_TOKEN = re.compile(PIECE.pattern + r"|[^\w\s]")
_FULL_WIDTH = {0xFF01 + at: 0x21 + at for at in range(94)} | {0x3000: 0x20}
_CLOSE = {"Ps": "Pe", "Pi": "Pf"}
_SENTENCE = re.compile(r"(?<=[。！？.!?])\s*")


@dataclass(frozen=True)
class Habit:
    """Something that the training answers do: the text key is `card.habit_<kind>`."""

    kind: Kind
    text: str
    """What is said or written, as the training answers mostly have it: （…）, "Arrr,", 呢; empty for emoji."""
    share: float
    """In what part of the training answers it holds."""

    def holds(self, answer: str) -> bool:
        """Whether an answer has it."""
        if self.kind == "phrase":
            return _stands_in(pieces(self.text), pieces(answer))
        wanted = (self.kind, _folded(self.text))
        return any(feature == wanted for feature, _ in _features(answer))


def habits_of(training: Sequence[str]) -> tuple[Habit, ...]:
    """At most three habits of these answers, the one that sets them off most from ordinary prose first."""
    some = training[:: max(1, -(-len(training) // COUNTED))]
    counted = [dict(_features(text)) for text in some]
    having: dict[Feature, set[int]] = {}
    for at, found in enumerate(counted):
        for feature in found:
            having.setdefault(feature, set()).add(at)
    usual = {feature: who for feature, who in having.items() if len(who) >= HOLDS * len(counted)}
    if not usual:
        return ()
    ordinary = _ordinary(round(sum(map(len, map(pieces, some))) / len(counted)))
    apart = {feature: len(who) / len(counted) - ordinary.get(feature, 0.0) for feature, who in usual.items()}
    ranked = sorted(
        (feature for feature, who in usual.items() if 2 * ordinary.get(feature, 0.0) <= len(who) / len(counted)),
        key=lambda feature: (-round(apart[feature], 1), PRIORITY.index(feature[0]), -len(feature[1]), feature[1]),
    )
    told: list[Feature] = []
    for feature in ranked:
        if len(told) < MOST and not any(_is_the_same(feature, other, usual) for other in told):
            told.append(feature)
    habits = []
    for kind, text in told:
        who = usual[kind, text]
        shown = Counter(counted[at][kind, text] for at in sorted(who)).most_common(1)[0][0]
        if kind == "phrase":
            least = max(HOLDS * len(counted), ALIKE * len(who))
            shown = _whole_phrase(text, [pieces(some[at]) for at in sorted(who)], least)
            who = {at for at in who if _stands_in(pieces(shown), pieces(some[at]))}
        habits.append(Habit(kind, shown, len(who) / len(counted)))
    return tuple(habits)


def _whole_phrase(text: str, answers: Sequence[list[str]], least: float) -> str:
    """A phrase with what `least` or more of the answers that have it say before and after it."""
    phrase = pieces(text)
    for before in (True, False):
        while True:
            size = len(phrase)
            following: Counter[str] = Counter()
            for parts in answers:
                at = next((at for at in range(len(parts)) if parts[at : at + size] == phrase), None)
                beside = None if at is None else at - 1 if before else at + size
                if beside is not None and 0 <= beside < len(parts):
                    following[parts[beside]] += 1
            piece, count = following.most_common(1)[0] if following else ("", 0)
            if count < least or not piece.isprintable() or size >= LONGEST_PHRASE:
                break
            phrase = [piece, *phrase] if before else [*phrase, piece]
    return _joined(phrase)


def _stands_in(phrase: Sequence[str], parts: Sequence[str]) -> bool:
    size = len(phrase)
    return any(parts[at : at + size] == phrase for at in range(len(parts) - size + 1))


def _joined(phrase: Sequence[str]) -> str:
    """Pieces as they are written."""
    return ("" if all(map(PIECE_ALONE.match, phrase)) else " ").join(phrase)


def _is_the_same(one: Feature, other: Feature, usual: Mapping[Feature, set[int]]) -> bool:
    """Two of one kind or place, or one within the other, that hold in the same answers."""
    places = [[place for place in PLACES if kind in place] or [(kind,)] for kind, _ in (one, other)]
    related = one[1] in other[1] or other[1] in one[1] or places[0] == places[1]
    return related and len(usual[one] & usual[other]) >= ALIKE * len(usual[one] | usual[other])


@cache
def _ordinary(length: int) -> dict[Feature, float]:
    """In what part of general text's stretches of so many pieces something holds: the higher of both languages."""
    found: dict[Feature, float] = {}
    for language in LANGUAGES:
        stretches = [""]
        for sentence in _SENTENCE.split(general_text(language)):
            if len(pieces(stretches[-1])) >= length:
                stretches.append("")
            stretches[-1] = f"{stretches[-1]} {sentence}".strip()
        times = Counter(feature for text in stretches for feature in dict(_features(text)))
        for feature, count in times.items():
            found[feature] = max(found.get(feature, 0.0), count / len(stretches))
    return found


def _folded(text: str) -> str:
    """Without case, full width as half width; as many characters as before."""
    return "".join(one if len(one) == 1 else own for own in text.translate(_FULL_WIDTH) for one in [own.lower()])


def _features(answer: str) -> Iterator[tuple[Feature, str]]:
    """Everything that an answer does and that might be a habit: (kind, folded text) and the text as it is written."""
    text = answer.strip()
    plain = _folded(text)
    tokens = list(_TOKEN.finditer(plain))
    if not tokens:
        return
    for count in range(1, min(LONGEST, len(tokens)) + 1):
        sides: dict[Kind, list[re.Match[str]]] = {"begins": tokens[:count], "ends": tokens[-count:]}
        for kind, some in sides.items():
            inner = some[-1] if kind == "begins" else some[0]
            start, end = some[0].start(), some[-1].end()
            # "Arrr" and "Arrr," are one opening: its inner side is a piece where there is one
            is_cut_right = inner[0][0].isalnum() or not any(token[0][0].isalnum() for token in some)
            if is_cut_right and text[start:end].isprintable():
                yield (kind, plain[start:end]), text[start:end]
    for start, end in _in_brackets(text):
        form = (plain[start] + "…" + plain[end], text[start] + "…" + text[end])
        if start == 0:
            yield ("begins_in_brackets", form[0]), form[1]
        yield ("brackets", form[0]), form[1]
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        is_piece = token[0][0].isalnum()
        if is_piece and (after is None or not after[0][0].isalnum()):
            yield ("says_last", token[0]), text[token.start() : token.end()]
        elif not is_piece and (category := unicodedata.category(token[0]))[0] in "PS":
            if category == "So":
                yield ("emoji", ""), ""
            yield ("symbol", token[0]), text[token.start() : token.end()]
    parts = pieces(text)
    for at in range(len(parts)):
        phrase: list[str] = []
        for part in parts[at:]:
            phrase.append(part)
            if sum(map(weight, phrase)) >= PHRASE:
                if (said := _joined(phrase)).isprintable():
                    yield ("phrase", said), said
                break


def _in_brackets(text: str) -> Iterator[tuple[int, int]]:
    """(first, last) of every passage between a bracket or quotation mark and its end, or between two asterisks."""
    at = 0
    while at < len(text):
        closes = _CLOSE.get(unicodedata.category(text[at]))
        end = -1
        if closes is not None:
            end = next((i for i in range(at + 1, len(text)) if unicodedata.category(text[i]) == closes), -1)
        elif text[at] in "*~_":
            end = text.find(text[at], at + 2)
        if end > at:
            yield at, end
            at = end
        at += 1
