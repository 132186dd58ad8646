"""Plain text in which every turn begins with who speaks: `问：…` and `答：…`, `A: …` and `B: …`. A guess.

There is no document of such a format; this is the form of examples in prompts and on exercise sheets, e.g. those of
character cards (https://github.com/malfoyslastname/character-card-spec-v2, spec_v1.md, mes_example).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from data_desk.chat import ChatMessage
from data_desk.sample import Sample

IS_GUESS = True
_NONE = r"\s:：\"'{}\[\]<>,，。!！?？/\\|="
"""What no speaker's name has in it."""
_TURN = re.compile(rf"^\s{{0,8}}([^{_NONE}()（）\d][^{_NONE}]{{0,15}})\s?[:：]\s?(.*)$")
_ANSWERS = ("答", "回答", "A", "助手", "助理", "AI", "Assistant", "Bot", "GPT", "ChatGPT", "角色", "模型")
_QUESTIONS = ("问", "提问", "问题", "Q", "用户", "User", "Human", "我", "人类")
_MOST_SPEAKERS = 8
_LOOKED_AT = 400
_SHARE = 0.5
"""Of the lines that say something, those that must begin with a speaker."""


def reads(sample: Sample) -> bool:
    """Whether few speakers begin many of its lines, the first one too."""
    lines = [line[:300] for line in sample.lines[:_LOOKED_AT] if line.strip()]
    found = [_TURN.match(line) for line in lines]
    speakers = Counter(match[1] for match in found if match)
    if not found or found[0] is None or not 2 <= len(speakers) <= _MOST_SPEAKERS:
        return False
    is_known = answers(sample) is not None
    return sum(map(bool, found)) >= _SHARE * len(lines) and (is_known or max(speakers.values()) > 1)


def answers(sample: Sample) -> str | None:
    """Who answers, where the names say it: 答 to 问, A to Q."""
    found = (_TURN.match(line[:300]) for line in sample.lines[:_LOOKED_AT])
    speakers = {match[1].casefold(): match[1] for match in found if match}
    asked = [name for name in _QUESTIONS if name.casefold() in speakers]
    answered = [speakers[name.casefold()] for name in _ANSWERS if name.casefold() in speakers]
    return answered[0] if asked and len(answered) == 1 else None


def messages(sample: Sample) -> Iterator[ChatMessage]:
    """The turns in their order; lines that begin with nobody belong to the turn before."""
    speaker, said, blank, was_blank = "", list[str](), False, False
    for line in sample.lines:
        if found := _TURN.match(line):
            if speaker:
                yield ChatMessage(speaker, "\n".join(said), may_begin=was_blank)
            speaker, said, was_blank = found[1], [found[2]], blank
        else:
            said.append(line)
        blank = not line.strip()
    if speaker:
        yield ChatMessage(speaker, "\n".join(said), may_begin=was_blank)
