"""The page of general text, and which language it is taken in."""

from __future__ import annotations

import pytest

from data_desk.counting.general import LANGUAGES, general_text, language_of_answers
from tests.support.finished_runs import TAUGHT, answers_of
from tests.support.project import ROOT


@pytest.mark.parametrize(("language", "least", "most"), [("zh", 250, 450), ("en", 1200, 2400)])
def test_a_page_is_a_page(language: str, least: int, most: int) -> None:
    text = general_text(language)  # type: ignore[arg-type]
    assert least <= len(text) <= most and text == text.strip() and "  " not in text


def test_every_page_is_named_in_the_notice() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    pages = sorted(path.stem for path in (ROOT / "data_desk/counting/general_text").iterdir())
    assert pages == sorted(LANGUAGES) and all(f"{language}.txt" in notice for language in LANGUAGES)


@pytest.mark.parametrize(
    ("answers", "language"),
    [
        (TAUGHT, "zh"),
        (answers_of("data/demo/train.jsonl"), "en"),
        (["我用 Python 写代码。"], "zh"),
        (["The word 书店 means bookshop."], "en"),
        (["Привет!"], "en"),
        ([], "zh"),
        (["……", "😊"], "zh"),
        (["这家 coffee 店"], "zh"),
        (["A cup of tea 茶 and a biscuit, please"], "en"),
    ],
)
def test_the_language_is_the_one_of_most_letters(answers: list[str], language: str) -> None:
    assert language_of_answers(answers) == language
