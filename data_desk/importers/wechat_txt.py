"""WeChat chats as text, by WeChatMsg (留痕, MemoTrace): a line with time and name, the message below it.

https://github.com/LC044/WeChatMsg, app/DataBase/exporter_txt.py: `TIME NAME`, the message, a blank line; what is quoted
stands below as `引用:NAME:TEXT`; a notice is `TIME NOTICE` without anything below. Other exporters have the name before
the time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_desk.chat import ChatMessage
from data_desk.importers.wechat_csv import without_quote
from data_desk.sample import Sample
from data_desk.times import time_of_text

_TIME = r"(\d{4}-\d{1,2}-\d{1,2} \d{1,2}:\d{2}:\d{2})"
_HEADERS = (re.compile(rf"^{_TIME} (\S.{{0,99}})$"), re.compile(rf"^(\S.{{0,99}}?) +{_TIME}$"))


def reads(sample: Sample) -> bool:
    """Whether it begins with a header: QQ's export, which has the same ones, begins with words about itself."""
    first = next((line for line in sample.lines if line.strip()), "")
    return any(pattern.match(first) for pattern in _HEADERS)


def messages(sample: Sample) -> Iterator[ChatMessage]:
    """The messages in their order."""
    first = next(line for line in sample.lines if line.strip())
    is_name_first = _HEADERS[0].match(first) is None
    pattern = _HEADERS[is_name_first]
    header: tuple[str, str] | None = None
    said: list[str] = []
    for line in sample.lines:
        if found := pattern.match(line[:130] if len(line) > 130 else line):
            if header is not None:
                yield _message(*header, said)
            header = (found[2], found[1]) if is_name_first else (found[1], found[2])
            said = []
        else:
            said.append(line)
    if header is not None:
        yield _message(*header, said)


def _message(time: str, name: str, said: list[str]) -> ChatMessage:
    text = "\n".join(said).strip("\n")
    if not text.strip():
        # nobody said anything: what looks like a name is the notice
        return ChatMessage("", name, time_of_text(_padded(time)), "withdrawn" if "撤回" in name else "system")
    return ChatMessage(name.strip(), without_quote(text), time_of_text(_padded(time)))


def _padded(time: str) -> str:
    """With two digits everywhere, as ISO 8601 has it."""
    return re.sub(r"\b(\d)\b", r"0\1", time)
