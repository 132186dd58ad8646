"""Which answers were taken from the training answers: whole, or with a long run of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from data_desk.counting.pieces import RUN_WORDS, pieces, windows

SET_PHRASE, SET_PHRASE_LEAST = 0.02, 3
"""An answer that makes more than this part of the training answers, and is given so often at least, is a set phrase (a
label, "I don't know"): to say it again is what was taught."""
_GRAM = RUN_WORDS // 2
"""A run of 8 pieces holds 4 that begin at a multiple of 4: of most training answers no more is looked at than these."""


def copied(answers: Iterable[str], training: Sequence[str]) -> list[tuple[bool, bool]]:
    """For each answer: is it a training answer whole, and has it a run of 12 characters or 8 words of one?

    Case, width, punctuation and blanks make no difference. What is whole counts as a run of any length. Takes time in
    proportion to the training answers, memory to the answers.
    """
    asked = [pieces(answer) for answer in answers]
    wholes = {" ".join(parts) for parts in asked}
    runs = {window for parts in asked for window in windows(parts)}
    grams = {" ".join(parts[at : at + _GRAM]) for parts in asked for at in range(len(parts) - _GRAM + 1)}
    found: set[str] = set()
    times: Counter[str] = Counter()
    for text in training:
        parts = pieces(text)
        whole = " ".join(parts)
        if whole in wholes:
            times[whole] += 1
        if any(" ".join(parts[at : at + _GRAM]) in grams for at in range(0, len(parts) - _GRAM + 1, _GRAM)):
            found.update(runs.intersection(windows(parts)))
    most = max(SET_PHRASE_LEAST - 1, int(SET_PHRASE * len(training)))
    told = []
    for parts in asked:
        times_taught = times[" ".join(parts)] if parts else 0
        whole_copy = 0 < times_taught <= most
        set_phrase = times_taught > most
        told.append((whole_copy, whole_copy or (not set_phrase and any(window in found for window in windows(parts)))))
    return told
