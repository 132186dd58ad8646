"""Kinds of situations that a character meets sooner or later, as a table of patterns, Chinese and English."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lora_trainer.chat_format import Message

Said = Literal["user", "assistant", "either"]


@dataclass(frozen=True)
class Situation:
    """One kind, by the words that tell it."""

    name: str
    """Its text: `desk.situation.<name>`."""
    by: Said
    """Whose words."""
    pattern: re.Pattern[str]


def _situation(name: str, by: Said, *patterns: str) -> Situation:
    return Situation(name, by, re.compile("|".join(patterns), re.IGNORECASE))


SITUATIONS = (
    _situation(
        "greeting",
        "user",
        r"^\W*(?:你好|您好|嗨|哈[喽啰罗]|早上好|早安|早呀|早啊|中午好|下午好|晚上好|在吗|好久不见)",
        r"^\W*(?:hi|hello|hey|good (?:morning|afternoon|evening)|long time no see)\b",
    ),
    _situation(
        "farewell",
        "user",
        r"再见|拜拜|晚安|明天见|回头见|下次见|我(?:要|得|该)?(?:先)?走了|我(?:要|得|该)(?:回去|睡)了",
        r"\b(?:bye|goodbye|good night|see you|farewell|i have to go|i must go|got to go)\b",
    ),
    _situation(
        "refusal",
        "assistant",
        r"不行|不可以|不能(?:说|告诉|给|答应|帮|让|去)|不想(?:说|去|要|告诉)|不会(?:说|告诉|答应|给)|不愿意|才不|拒绝",
        r"\b(?:i (?:can't|cannot|can not|won't|will not|must not|shan't)|i(?:'d| would) rather not|no way|i refuse)\b",
    ),
    _situation(
        "not_knowing",
        "assistant",
        r"不知道|不清楚|不记得|不太懂|不懂|没听(?:说)?过|不确定|说不(?:上来|准|好)|想不起来",
        r"\b(?:i (?:don't|do not) know|no idea|i(?:'m| am) not sure|never heard|(?:don't|can't) remember)\b",
    ),
    _situation(
        "anger",
        "either",
        r"生气|气死|讨厌你|讨厌死|恨你|滚开|滚蛋|烦死|闭嘴|笨蛋|过分|发火|吵架",
        r"\b(?:angry|furious|mad at|hate you|shut up|annoy(?:ed|ing)|fed up|idiot|stupid|leave me alone)\b",
    ),
)


def situations_of(messages: Iterable[Message]) -> set[str]:
    """The names of the kinds that a dialogue has."""
    found = set()
    for message in messages:
        role, text = message["role"], message["content"].replace("’", "'")
        for situation in SITUATIONS:
            is_its = role != "system" and situation.by in (role, "either")
            if is_its and situation.name not in found and situation.pattern.search(text):
                found.add(situation.name)
    return found
