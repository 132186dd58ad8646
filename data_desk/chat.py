"""A chat log: messages of people, and the dialogues that they are cut into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from data_desk.dialogue import Choices, Dialogue, Tally, clean, in_turns
from data_desk.placeholders import without_placeholders

MOST_TURNS = 24
MOST_CHARACTERS = 1200
"""A longer dialogue is cut: a training takes none that is longer than 1024 tokens."""


@dataclass(frozen=True)
class ChatMessage:
    """One message as a file has it."""

    speaker: str
    text: str
    time: datetime | None = None
    left: str = ""
    """Why it can't be used (media, call, withdrawn, system); empty where that isn't known already."""
    thread: int = 0
    """Messages of different threads are never one dialogue."""
    may_begin: bool = False
    """A blank line before it: where the one before was answered, another dialogue begins."""


@dataclass(frozen=True)
class _Turn:
    is_answer: bool
    text: str
    pause: float
    """Seconds since the message before; 0 where that isn't known."""


def usable(messages: Iterable[ChatMessage], choices: Choices, tally: Tally) -> Iterator[ChatMessage]:
    """The messages that say something, each without what stands for a picture; the others are counted."""
    for message in messages:
        text, why = without_placeholders(clean(message.text))
        why = message.left or why
        if not why and any(word in text for word in choices.drop):
            why = "dropped"
        if why:
            tally.left[why] += 1
            continue
        tally.speakers[message.speaker] += 1
        tally.at(message.time)
        yield ChatMessage(message.speaker, text, message.time, "", message.thread, message.may_begin)


def dialogues(messages: Iterable[ChatMessage], choices: Choices, tally: Tally) -> Iterator[Dialogue]:
    """The character's messages as answers to everybody else's; a pause begins another dialogue."""
    turns: list[_Turn] = []
    before: ChatMessage | None = None
    for message in usable(messages, choices, tally):
        is_answer = message.speaker == choices.character
        pause = 0.0
        if before is not None:
            if before.time is not None and message.time is not None:
                # a clock that was set back makes a pause, too
                pause = abs((message.time - before.time).total_seconds())
            answered = message.may_begin and not is_answer and turns and turns[-1].is_answer
            if message.thread != before.thread or pause > choices.pause * 60 or answered:
                yield from _cut(turns, tally)
                turns = []
        turns.append(_Turn(is_answer, message.text, pause))
        before = message
    yield from _cut(turns, tally)


def in_pieces(spoken: Iterable[tuple[str, str]], tally: Tally, system: str = "") -> Iterator[Dialogue]:
    """The dialogues of one long talk of (role, text) without times; a system message in it is the system prompt."""
    turns = []
    for role, text in spoken:
        if role == "system":
            system = text
        else:
            turns.append(_Turn(role == "assistant", text, 0.0))
    yield from _cut(turns, tally, system)


def _cut(turns: list[_Turn], tally: Tally, system: str = "") -> Iterator[Dialogue]:
    """One dialogue, or where it is too long several, cut at the longest pause before a question near the middle."""
    waiting = [turns]
    while waiting:
        piece = waiting.pop()
        at = _where(piece)
        if at is None:
            spoken = [("assistant" if turn.is_answer else "user", turn.text) for turn in piece]
            if (dialogue := in_turns(spoken, tally, system)) is not None:
                yield dialogue
        else:
            waiting += [piece[at:], piece[:at]]


def _where(turns: list[_Turn]) -> int | None:
    """Where to cut: a place at which a question follows on an answer; None where it is short, or has none."""
    changes = [at for at in range(1, len(turns)) if turns[at - 1].is_answer != turns[at].is_answer]
    length = sum(len(turn.text) for turn in turns)
    if len(changes) < MOST_TURNS and length <= MOST_CHARACTERS:
        return None
    places = [at for at in changes if not turns[at].is_answer]
    if not places:
        return None
    # the middle half alone, so that each cut halves the work
    middle = places[len(places) // 4 : len(places) - len(places) // 4] or places
    centre = places[len(places) // 2]
    return max(middle, key=lambda at: (turns[at].pause, -abs(at - centre)))
