"""Lessons: what of one conversation the model is to learn, written down at once, or as soon as nobody else is at work
on the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pipeline.chat import Talker, Tried
from pipeline.run.corrections import Correction, Written, clean, put_right, take_back
from pipeline.run.history import History
from pipeline.run.run import Run


class Conversation(Protocol):
    """What is corrected."""

    talker: Talker
    turns: list[dict[str, str]]
    """User and assistant, one after the other."""

    @property
    def last_answer(self) -> dict[str, str] | None:
        """The answer to the last question; None where there is none."""

    def amend(self, turn: dict[str, str], text: str) -> dict[str, str]:
        """Let a turn say something else; the new turn."""


Edit = Callable[[str], str | None]
"""Lets the user change a text; None where it is to stay as it was."""


@dataclass
class Lesson:
    """One correction, and how to undo it."""

    correction: Correction
    turn: dict[str, str]
    """The answer as it stands in the conversation now."""
    answer: str
    """What it said before."""
    written: Written | None = None
    """None until it is in the file."""


class Lessons:
    """Corrections of the model that `run` is a training of; `edit` opens an answer for the user."""

    def __init__(self, history: History, run: Run, edit: Edit) -> None:
        self._history, self._name = history, str(run.record["name"])
        self.edit = edit
        self._max_length = run.plan.max_length
        self._taught: list[Lesson] = []

    @property
    def waiting(self) -> list[Lesson]:
        """Those that aren't written yet."""
        return [lesson for lesson in self._taught if lesson.written is None]

    def counts(self) -> tuple[int, int]:
        """How many answers were put right, and how many kept, in the file by now."""
        last = {_key(lesson.correction): lesson for lesson in self._taught if lesson.written}
        corrected = sum(lesson.correction.rejected is not None for lesson in last.values())
        return corrected, len(last) - corrected

    def teach(self, talk: Conversation, text: str) -> bool:
        """Let `text` be the last answer; whether that is anything new. There must be a last answer.

        The conversation goes on with it, whether or not it can be written. Raises what `write` does.
        """
        turn = talk.last_answer
        assert turn is not None
        before = self._fitting(talk, text)
        answer = clean(turn["content"])
        correction = Correction(before, text, None if text == answer else answer)
        lesson = Lesson(correction, turn, turn["content"])
        self._taught.append(lesson)
        if text != answer:
            self._amend(talk, turn, text)
        self.write()
        return lesson in self._taught

    def write(self) -> None:
        """Write what isn't written yet.

        Raises UsageError where somebody else is at work on the model, and ResourceError; what is left waits then.
        """
        for lesson in self.waiting:
            lesson.written = put_right(self._history, self._name, lesson.correction)
            if lesson.written is None:
                self._taught.remove(lesson)

    def undo(self, talk: Conversation) -> bool:
        """Take the last one back, out of file and conversation; whether there was one. Raises as `write`."""
        if not self._taught:
            return False
        lesson = self._taught[-1]
        if lesson.written is not None:
            take_back(self._history, self._name, lesson.written)
        self._taught.pop()
        self._amend(talk, lesson.turn, lesson.answer)
        return True

    def _amend(self, talk: Conversation, turn: dict[str, str], text: str) -> None:
        amended = talk.amend(turn, text)
        for lesson in self._taught:
            if lesson.turn is turn:
                lesson.turn = amended

    def _fitting(self, talk: Conversation, answer: str) -> tuple[dict[str, str], ...]:
        """The dialogue before an answer: the oldest pairs go until a training has room for both."""
        turns = [{**turn, "content": clean(turn["content"])} for turn in talk.turns[:-1]]
        turns.append({"role": "assistant", "content": answer})
        blank = max((at for at, turn in enumerate(turns) if not turn["content"]), default=-1)
        del turns[: (blank + 2) // 2 * 2]  # no training row has a turn that says nothing
        # of the history alone first: another answer is to have the same one, and take the first one's place
        for part, room in ((slice(-1), self._max_length * 3 // 4), (slice(None), self._max_length * 7 // 8)):
            while len(turns) > 2 and talk.talker.tokens(turns[part], Tried()) > room:
                del turns[:2]
        return tuple(turns[:-1])


def _key(correction: Correction) -> tuple[str, ...]:
    return tuple(turn["content"] for turn in correction.before)
