"""WhatsApp chats as text, by WhatsApp itself: of Android and iOS, with the dates of any country.

`DATE, TIME - NAME: TEXT` or `[DATE, TIME] NAME: TEXT`; what has no name is a notice. The headers are those of
https://github.com/lucasrodes/whatstk (whatstk/whatsapp/hformat.py and its assets); the Chinese ones, and what stands
for pictures, of https://github.com/hellodigua/ChatLab, electron/main/parser/formats/whatsapp-native-txt.ts.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from data_desk.chat import ChatMessage
from data_desk.sample import Sample
from data_desk.times import time_of

_HEADER = re.compile(
    r"^[\u200e\u200f]{0,2}(\[)?(\d{1,4})[./-](\d{1,2})[./-](\d{1,4})[,،]? (?:([上下]午|凌晨|早上|中午|晚上) ?)?"
    r"(\d{1,2}[:.]\d{2}(?:[:.]\d{2})?)(?:[ \u202f\xa0]?([AaPp]\.?[ \u202f\xa0]?[Mm]\.?))?(?(1)\]| [-–]) (.*)$",
    re.DOTALL,
)
_MEDIA = re.compile(
    r"^<[^<>\n]{0,60}(?:omitted|attached|省略|忽略|附件|附加|略过)[^<>\n]{0,200}>$|^<(?:附件|attached)[:：][^<>\n]{0,200}>$"
    r"|^(?:image|video|audio|sticker|GIF|document|Contact card) omitted$|\(file attached\)$|（附件）$"
    r"|^(?:图像|图片|影片|视频|音频|贴图|文档|文件)(?:已)?(?:忽略|略过|省略)$",
)
_EDITED = re.compile(r"\s*<(?:This message was edited|此消息已编辑|这条消息已编辑)>\s*$")
_ENDING = 60
"""Characters of a message in which such an ending stands."""
_ENCRYPTED = re.compile(r"end-to-end encrypted|端到端加密|端對端加密")
_MOST_COLONS = 4
"""Parts of a header that a name with colons in it may take."""
_LOOKED_AT = 30


@dataclass(frozen=True)
class _Entry:
    date: tuple[int, int, int]
    clock: str
    half: str
    rest: str


def reads(sample: Sample) -> bool:
    """Whether its first line is a header, and another one has a name."""
    lines = [line for line in sample.lines[:_LOOKED_AT] if line.strip()]
    headers = [found for line in lines if (found := _HEADER.match(line))]
    return bool(lines and _HEADER.match(lines[0])) and any(": " in found[8] for found in headers)


def messages(sample: Sample) -> Iterator[ChatMessage]:
    """The messages in their order."""
    entries = list(_entries(sample.lines))
    order = _order(entries)
    names = _names([entry.rest.partition("\n")[0] for entry in entries])
    for entry in entries:
        year, month, day = (entry.date[at] for at in order)
        time = time_of((year, month, day), entry.clock, entry.half)
        name = next((name for name in _beginnings(entry.rest.partition("\n")[0]) if name in names), None)
        if name is None or _ENCRYPTED.search(entry.rest[:300]):
            yield ChatMessage("", entry.rest, time, "system")
            continue
        text = entry.rest[len(name) + 1 :].strip(" \u200e\u200f\n")
        text = text[:-_ENDING] + _EDITED.sub("", text[-_ENDING:])
        yield ChatMessage(name.strip("\u200e\u200f~ \u202f"), text, time, "media" if _is_media(text) else "")


def _is_media(text: str) -> bool:
    return len(text) < 300 and "\n" not in text and bool(_MEDIA.search(text))


def _entries(lines: Sequence[str]) -> Iterator[_Entry]:
    """What stands behind each header, with the lines below it."""
    header: re.Match[str] | None = None
    below: list[str] = []
    for line in lines:
        if found := _HEADER.match(line):
            if header is not None:
                yield _entry(header, below)
            header, below = found, []
        else:
            below.append(line)
    if header is not None:
        yield _entry(header, below)


def _entry(header: re.Match[str], below: Sequence[str]) -> _Entry:
    date = int(header[2]), int(header[3]), int(header[4])
    return _Entry(date, header[6], header[5] or header[7] or "", "\n".join([header[8], *below]).rstrip("\n"))


def _order(entries: Sequence[_Entry]) -> tuple[int, int, int]:
    """Where year, month and day stand in the dates: what no month can be is no month, and a chat makes few leaps."""
    firsts, seconds = {entry.date[0] for entry in entries}, {entry.date[1] for entry in entries}
    if max(firsts, default=0) > 31:
        return (0, 1, 2) if max(seconds) <= 12 else (0, 2, 1)
    if max(firsts, default=0) > 12 or max(seconds, default=0) > 12:
        return (2, 1, 0) if max(firsts) > 12 else (2, 0, 1)

    def way(order: tuple[int, int, int]) -> int:
        # about in days
        days = [entry.date[order[0]] * 372 + entry.date[order[1]] * 31 + entry.date[order[2]] for entry in entries]
        return sum(abs(later - earlier) for earlier, later in pairwise(days))

    month_first, day_first = way((2, 0, 1)), way((2, 1, 0))
    # where both fit, it is as countries with a 12-hour clock have it
    is_american = month_first < day_first or (month_first == day_first and any(_is_english(e.half) for e in entries))
    return (2, 0, 1) if is_american else (2, 1, 0)


def _is_english(half: str) -> bool:
    return half[:1] in ("A", "P")


def _beginnings(line: str) -> list[str]:
    """What the name may be, shortest first: all that ends before one of the first colons."""
    parts = line[:200].split(": ")[: _MOST_COLONS + 1]
    found = [": ".join(parts[:count]) for count in range(1, len(parts))]
    # a message that is a picture alone, or that was cut off
    return [*found, line[:-1]] if line.endswith(":") and len(line) < 100 else found


def _names(lines: Sequence[str]) -> set[str]:
    """The speakers. A name goes on behind a colon where all that begin with it (three or more) go on alike."""
    by_first: dict[str, list[list[str]]] = defaultdict(list)
    for line in lines:
        if beginnings := _beginnings(line):
            by_first[beginnings[0]].append(beginnings)
    names = set()
    for name, several in by_first.items():
        for depth in range(1, _MOST_COLONS):
            nexts = Counter(beginnings[depth] if len(beginnings) > depth else "" for beginnings in several)
            if len(several) < 3 or len(nexts) > 1 or "" in nexts:
                break
            name = next(iter(nexts))
        names.add(name)
    return names
