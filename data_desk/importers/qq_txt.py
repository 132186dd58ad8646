"""QQ chats as text, by QQ's own message manager.

A beginning that says so (消息记录（此消息记录为文本格式，不支持重新导入）), 消息分组 and 消息对象, then
`TIME NAME(NUMBER)` or `TIME NAME<MAIL>` and the message below it; a 12-hour clock has AM or PM behind it:
https://github.com/hikariyo/qq-chat-history (README) and https://github.com/hellodigua/ChatLab,
electron/main/parser/formats/qq-native-txt.ts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from data_desk.chat import ChatMessage
from data_desk.sample import Sample
from data_desk.times import time_of

_BEGINNING = "消息记录（此消息记录为文本格式"
_HEADER = re.compile(
    r"^(\d{4})-(\d{1,2})-(\d{1,2}) (?:([上下]午) ?)?(\d{1,2}:\d{2}:\d{2})(?: ([AaPp][Mm]))? (.{0,100}?)"
    r"(?:\((\d{1,12})\)|<([^<>\s]{1,100})>)?\s{0,4}$"
)
_TITLE = re.compile(r"^(?:【[^】]{0,20}】)+")
"""管理员, 群主 and whatever a group calls its members."""
_SYSTEM = ("10000", "1000000")
_LOOKED_AT = 20


def reads(sample: Sample) -> bool:
    """Whether its beginning says so."""
    head = sample.lines[:_LOOKED_AT]
    return any(_BEGINNING in line for line in head) or (
        any(line.startswith("消息分组:") for line in head) and any(line.startswith("消息对象:") for line in head)
    )


def messages(sample: Sample) -> Iterator[ChatMessage]:
    """The messages in their order, each speaker by the last name that their number had."""
    names: dict[str, str] = {}
    found: list[tuple[str, ChatMessage]] = []
    thread, header, said = 0, None, list[str]()
    for line in [*sample.lines, "消息对象:"]:
        match = _HEADER.match(line) if len(line) <= 250 else None
        is_other = line.startswith("消息对象:")
        if match is None and not is_other:
            said.append(line)
            continue
        if header is not None:
            key, message = _message(header, said, thread, names)
            found.append((key, message))
        header, said = match, []
        thread += is_other
    for key, message in found:
        yield replace(message, speaker=names.get(key, message.speaker))


def _message(header: re.Match[str], said: list[str], thread: int, names: dict[str, str]) -> tuple[str, ChatMessage]:
    year, month, day, half, clock, english, name, number, mail = header.groups()
    name = _TITLE.sub("", name).strip()
    key = number or mail or name
    if name:
        names[key] = name
    # between two chats stand lines that belong to neither
    text = "\n".join(line for line in said if not line.startswith(("====", "消息分组:", "消息记录（"))).strip("\n")
    time = time_of((int(year), int(month), int(day)), clock, half or english or "")
    is_notice = number in _SYSTEM or name == "系统消息"
    return key, ChatMessage(name or key, text, time, "system" if is_notice else "", thread)
