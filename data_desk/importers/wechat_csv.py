"""WeChat chats as CSV, by WeChatMsg (留痕, MemoTrace): both of its tables.

The older one has the columns of the database (localId ... StrContent, StrTime, and in groups Remark, NickName, Sender):
https://github.com/LC044/WeChatMsg, app/DataBase/exporter_csv.py. The newer one's heads are Chinese (消息ID, 类型,
发送人, 时间, 内容, 备注, 昵称, 更多信息), after its exporter/exporter_csv.py. Types: 1 text, 3 picture, 34 voice,
43 film, 47 sticker, 49 card (57: an answer that quotes), 50 call, 10000 notice; app/DataBase/exporter_txt.py there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from data_desk.chat import ChatMessage
from data_desk.sample import Sample
from data_desk.times import time_of_seconds, time_of_text

OLDER = {"Type", "IsSender", "CreateTime", "StrContent"}
NEWER = {"消息ID", "类型", "发送人", "时间", "内容"}
ME, OTHER = "我", "对方"
_LEFT = {"50": "call", "10000": "system", "10002": "withdrawn"}
_SPOKEN = ("文本", "引用", "引用消息", "文字")
_NOTICES = ("系统消息", "撤回消息", "拍一拍")
_CALLS = ("音视频通话", "语音通话", "视频通话")


def reads(sample: Sample) -> bool:
    """Whether it has the heads of one of the two tables."""
    heads = set(sample.heads)
    return heads >= OLDER or heads >= NEWER


def messages(sample: Sample) -> Iterator[ChatMessage]:
    """The messages in their order. Raises DataError."""
    is_older = set(sample.heads) >= OLDER
    for record in sample.records():
        yield _older(record) if is_older else _newer(record)


def _older(record: Mapping[str, str]) -> ChatMessage:
    kind, text = record["Type"].strip(), record["StrContent"]
    other = record.get("Remark") or record.get("NickName") or record.get("Sender") or OTHER
    speaker = ME if record["IsSender"].strip() == "1" else other.strip()
    time = time_of_seconds(record["CreateTime"]) if "StrTime" not in record else time_of_text(record["StrTime"])
    quotes = kind == "49" and record.get("SubType", "").strip() == "57"
    left = "" if kind == "1" or quotes else _LEFT.get(kind, "media")
    return ChatMessage(speaker, without_quote(text), time, left)


def _newer(record: Mapping[str, str]) -> ChatMessage:
    kind = record["类型"].strip()
    left = "" if kind in _SPOKEN else "system" if kind in _NOTICES else "call" if kind in _CALLS else "media"
    return ChatMessage(record["发送人"].strip(), without_quote(record["内容"]), time_of_text(record["时间"]), left)


def without_quote(text: str) -> str:
    """An answer without the message that it quotes, which stands in the lines behind `引用:`."""
    kept = []
    for line in text.split("\n"):
        if line.lstrip().startswith(("引用:", "引用：")):
            break
        kept.append(line)
    return "\n".join(kept)
