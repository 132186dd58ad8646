"""WeChat messages that were chosen and sent on as text: by mail, or copied from there.

`A 和 B 在微信上的聊天记录如下，请查收。`, a line of dashes with the date, then `NAME  HH:MM` and the message below it,
with blank lines between: https://github.com/chie4hao/WeChat-AI-Copilot, public/wechat-log-parser.js and its sample.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_desk.chat import ChatMessage
from data_desk.sample import Sample
from data_desk.times import time_of

_BEGINNING = "在微信上的聊天记录如下"
_DATE = re.compile(r"^[—\-─ ]{2,20}(\d{4})[-/年](\d{1,2})[-/月](\d{1,2})日?[—\-─ ]{2,20}$")
_HEADER = re.compile(r"^(\S.{0,99}?) {2,8}(\d{1,2}:\d{2}(?::\d{2})?)\s{0,8}$")
_LOOKED_AT = 20


def reads(sample: Sample) -> bool:
    """Whether its beginning says so."""
    return any(_BEGINNING in line for line in sample.lines[:_LOOKED_AT])


def messages(sample: Sample) -> Iterator[ChatMessage]:
    """The messages in their order; without a line of the date they have no time."""
    day: tuple[int, int, int] | None = None
    header: tuple[str, str] | None = None
    header_day = day
    said: list[str] = []
    for line in sample.lines:
        short = len(line) <= 130
        date = _DATE.match(line.strip()) if short else None
        found = _HEADER.match(line) if short else None
        if date is None and found is None:
            said.append(line)
            continue
        if header is not None:
            yield _message(*header, header_day, said)
            header = None
        said = []
        if date is not None:
            day = int(date[1]), int(date[2]), int(date[3])
        elif found is not None:
            header, header_day = (found[1], found[2]), day
    if header is not None:
        yield _message(*header, header_day, said)


def _message(name: str, clock: str, day: tuple[int, int, int] | None, said: list[str]) -> ChatMessage:
    text = "\n".join(said).strip("\n")
    return ChatMessage(name.strip(), text, time_of(day, clock) if day is not None else None)
