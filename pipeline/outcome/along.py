"""Which questions a model answers while it learns."""

from __future__ import annotations

from collections.abc import Iterable

from data_desk.counting.general import Language, language_of_answers
from lora_trainer.data.dataset import Dataset
from lora_trainer.data.dialogues import contents, learnt_answers
from pipeline.outcome.comparison.questions import ALWAYS


def language_of(data: Dataset) -> Language:
    """The language of the training answers."""
    return language_of_answers(learnt_answers(data.train))


def questions_along(data: Dataset, count: int) -> list[str]:
    """So many questions: the same one for everybody, then what users begin with in the validation rows.

    Where there are none, in the training rows; none is asked twice.
    """
    return list(dict.fromkeys([ALWAYS[language_of(data)], *_openings(data, count)]))[:count]


def _openings(data: Dataset, count: int) -> Iterable[str]:
    rows = (data.val or data.train)[:count]
    return (next(contents([row], "user")) for row in rows)
