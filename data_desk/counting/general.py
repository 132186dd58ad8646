"""The page of general text that comes with the program: what the loss is measured on that tells what was forgotten."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from data_desk.counting.pieces import PIECE_ALONE

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")


def language_of_answers(answers: Iterable[str]) -> Language:
    """The language of the two that the page comes in whose letters the training answers have more of.

    A character of a script without blanks counts as much as three other letters: it says as much. Answers in neither
    language are measured on the English page, those without any letter on the Chinese one.
    """
    unspaced = others = 0
    for text in answers:
        own = 0 if text.isascii() else len(PIECE_ALONE.findall(text))
        unspaced += own
        others += sum(map(str.isalpha, text)) - own
    return "zh" if 3 * unspaced >= others else "en"


def general_text(language: Language) -> str:
    """The page in one language: some hundred words of the program's own (see NOTICE)."""
    return (Path(__file__).parent / "general_text" / f"{language}.txt").read_text(encoding="utf-8").strip()
