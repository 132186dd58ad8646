"""Session: one conversation: its turns, what is tried out in it, and the last question, which can be asked again."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.chat import Talker, Tried, fitting

if TYPE_CHECKING:
    from wizard.chat.lessons import Lessons


@dataclass(frozen=True)
class Reply:
    """What became of a question."""

    text: str
    stopped: bool
    """The answer ended by itself."""
    broken_off: bool = False
    """By the user."""
    forgotten: bool = False
    """The oldest turns had to go, for the first time in this conversation."""


class Session:
    """A conversation with `talker`; nothing of it is kept anywhere else, but for what it is to learn of it."""

    def __init__(self, talker: Talker) -> None:
        self.talker = talker
        self.lessons: Lessons | None = None
        """None where the model isn't one that was trained here."""
        self.tried = Tried()
        self.turns: list[dict[str, str]] = []
        """User and assistant in turns, as the model hears them: the oldest go where its context is full."""
        self.question: str | None = None
        """The last one, whatever became of its answer."""
        self._is_answered = False
        """Whether the turns end with that question and its answer."""
        self._was_cut = False

    def ask(self, question: str, heard: Callable[[str], None]) -> Reply:
        """Ask, and take question and answer into the conversation; raises UserErrors, which leave it as it was.

        Ctrl-C ends the answer: what was said by then counts.
        """
        self.question, self._is_answered = question, False
        asked = [*self.turns, {"role": "user", "content": question}]
        said: list[str] = []

        def hear(piece: str) -> None:
            said.append(piece)
            heard(piece)

        kept = asked
        try:
            kept = fitting(self.talker, asked, self.tried)
            answer = self.talker.answer(kept, self.tried, secrets.randbelow(1 << 31), hear)
            reply = Reply(answer.text, answer.stopped)
        except KeyboardInterrupt:
            reply = Reply("".join(said), stopped=False, broken_off=True)
        forgotten = len(kept) < len(asked) and not self._was_cut
        self._was_cut = self._was_cut or forgotten
        self.turns = kept[:-1]
        if reply.text:
            self.turns, self._is_answered = [*kept, {"role": "assistant", "content": reply.text}], True
        return replace(reply, forgotten=forgotten)

    def retry(self, heard: Callable[[str], None]) -> Reply:
        """Ask the last question again with another seed; its answer takes the place of the last one.

        Raises as `ask` does; the last answer stays then. There must be a last question.
        """
        assert self.question is not None
        before, was_answered = self.turns, self._is_answered
        if was_answered:
            self.turns = before[:-2]
        try:
            return self.ask(self.question, heard)
        finally:
            if not self._is_answered:
                self.turns, self._is_answered = before, was_answered

    @property
    def last_answer(self) -> dict[str, str] | None:
        """The answer to the last question; None where there is none."""
        return self.turns[-1] if self._is_answered else None

    def amend(self, turn: dict[str, str], text: str) -> dict[str, str]:
        """Let a turn say something else from now on, if it is still remembered; the new turn."""
        amended = {**turn, "content": text}
        self.turns = [amended if known is turn else known for known in self.turns]
        return amended

    def clear(self) -> None:
        """Begin anew; what is tried out stays."""
        self.turns, self.question = [], None
        self._is_answered = self._was_cut = False

    @property
    def system(self) -> str:
        """The system prompt as it is now; "" is none."""
        return self.talker.system if self.tried.system is None else self.tried.system

    def parameter(self, name: str) -> Any:
        """A parameter as it is now; None where the model doesn't say."""
        return self.tried.parameters.get(name, self.talker.parameters.get(name))

    def try_system(self, text: str) -> None:
        """Try another system prompt out; "" is none."""
        self.tried = replace(self.tried, system=None if text == self.talker.system else text)

    def try_parameter(self, name: str, value: float) -> None:
        """Try another value of a parameter out."""
        others = {other: known for other, known in self.tried.parameters.items() if other != name}
        new = {} if value == self.talker.parameters.get(name) else {name: value}
        self.tried = replace(self.tried, parameters={**others, **new})

    def reset(self) -> None:
        """As the model is served: nothing is tried out any more."""
        self.tried = Tried()
