"""Drafts of rows, one after the other: what a user might say, and the character's answer. Nothing is written here."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from data_desk.counting.general import language_of_answers
from data_desk.counting.near import is_like_one_of
from data_desk.opened import Opened
from data_desk.repairs.words import has_control_tokens
from data_desk.statistics import words_of
from lora_trainer.data.dialogues import contents, learnt_answers
from lora_trainer.errors import UsageError
from pipeline.chat import Talker, fitting
from pipeline.desk.drafting.bare import bare_answer, bare_line
from pipeline.desk.drafting.examples import choose, examples_in, has_examples
from pipeline.desk.drafting.requests import WORDS, Asked, answer_asked, line_asked

TRIES = 3


@dataclass(frozen=True)
class Draft:
    """A row that nobody has looked at yet."""

    line: str
    answer: str
    situation: str | None = None
    """The missing kind of situation that it was asked for."""

    @property
    def messages(self) -> list[dict[str, str]]:
        """User and assistant."""
        return [{"role": "user", "content": self.line}, {"role": "assistant", "content": self.answer}]


class Useless(UsageError):
    """A draft that isn't worth showing; with the last of a draft's tries it is told."""


def can_draft(opened: Opened) -> bool:
    """Whether there is a row of the user's own to take the manner from."""
    return bool(opened.train) and has_examples(opened.train, opened.statistics.systems.common)


class Drafting:
    """One sitting with a model: first the situations that no row has, each once, then freely."""

    def __init__(self, talker: Talker, opened: Opened, seed: int) -> None:
        self._talker, self._random = talker, Random(seed)
        self._system = opened.statistics.systems.common
        self._examples = examples_in(opened.train, self._system)
        self._words = WORDS[language_of_answers(learnt_answers(opened.train))]
        self._missing = list(opened.statistics.missing)
        rows = [*opened.train, *opened.val]
        self._lines = [next(contents([row], "user")) for row in rows]
        self._rows = [words_of(row) for row in rows]

    def next(self) -> Draft:
        """Another draft, unlike all rows and all drafts before it.

        Raises Useless where none of three tries came to any, what the model raises, and KeyboardInterrupt.
        """
        situation = self._missing.pop(0) if self._missing else None
        for _ in range(TRIES - 1):
            with suppress(Useless):
                return self._try(situation)
        return self._try(situation)

    def know(self, draft: Draft) -> None:
        """Make no other draft like this one, whatever became of it."""
        self._lines.append(draft.line)
        self._rows.append(f"{draft.line}\n{draft.answer}")

    def _try(self, situation: str | None) -> Draft:
        examples = choose(self._examples, self._random.randrange(1 << 31))
        like = [example.line for example in examples]
        asked = line_asked(self._words, self._system, examples, situation)
        line = self._usable(bare_line(self._said(asked), like), self._lines)
        asked = answer_asked(self._words, self._system, examples, line, situation)
        answer = self._usable(bare_answer(self._said(asked), [example.answer for example in examples]))
        self._usable(f"{line}\n{answer}", self._rows)
        draft = Draft(line, answer, situation)
        self.know(draft)
        return draft

    def _said(self, asked: Asked) -> str:
        turns = fitting(self._talker, asked.turns, asked.tried)
        answer = self._talker.answer(turns, asked.tried, self._random.randrange(1 << 31), _unheard)
        if not answer.stopped:
            raise Useless("error.draft.unfinished", tries=TRIES)
        return answer.text

    def _usable(self, text: str, known: Sequence[str] = ()) -> str:
        if not text:
            raise Useless("error.draft.empty", tries=TRIES)
        if has_control_tokens(text):
            raise Useless("error.draft.control_token", tries=TRIES)
        if is_like_one_of(text, known):
            raise Useless("error.draft.known", tries=TRIES)
        return text


def _unheard(_: str) -> None:
    """A draft is shown when it is whole."""
