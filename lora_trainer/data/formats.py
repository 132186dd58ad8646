"""The formats a training row may have, one small reader each, and what makes a row a dialogue."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lora_trainer.chat_format import Message

ROLE_KEYS = {
    # OpenAI's chat format, and ShareGPT's; the key under which the role stands says which one a turn has.
    "role": {"system": "system", "user": "user", "assistant": "assistant"},
    "from": {"system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"},
}
CONTENT_KEYS = {"role": "content", "from": "value"}
JSON_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
# All that str.strip() takes, and the zero-width characters that editors and web pages leave at the ends.
_ENDS = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
    "\u200b\u2060\ufeff"
)
# NUL ends a C string in llama.cpp, and half a surrogate pair can't be written as UTF-8.
_BAD = re.compile("[\0\ud800-\udfff]")


@dataclass
class Row:
    """What came of one row: the messages, or the faults (text key -> values)."""

    messages: list[Message] = field(default_factory=list)
    faults: dict[str, dict[str, str]] = field(default_factory=dict)

    def fault(self, kind: str, **values: str) -> None:
        """Note a fault; the same kind again in this row only adds its place."""
        key = f"data.fault.{kind}"
        if (known := self.faults.setdefault(key, values)) is not values:
            for name, value in values.items():
                if value not in known[name].split(", "):
                    known[name] += f", {value}"


@dataclass(frozen=True)
class Turn:
    """A turn as it stands in the row; `where` names the place for the user, counted from 1."""

    where: str
    role: str
    content: Any


def trim(text: str) -> str:
    """Take white space and zero-width characters off both ends."""
    return text.strip(_ENDS)


def shown(value: Any, limit: int = 60) -> str:
    """Make anything from a file safe to print: control characters and lone surrogates escaped, long ones cut."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value)[: limit + 1])
    return text[:limit] + "…" if len(text) > limit else text


def json_type(value: Any) -> str:
    """Name the type as JSON does."""
    return JSON_TYPES.get(type(value), "number")


def _list_of_turns(row: Row, value: Any, name: str) -> Iterator[Turn]:
    if not isinstance(value, list):
        row.fault("turns_not_list", where=name, type=json_type(value))
        return
    for number, turn in enumerate(value, 1):
        where = f"{name} #{number}"
        if not isinstance(turn, dict):
            row.fault("turn_shape", where=where)
            continue
        role_key = "from" if "from" in turn and "role" not in turn else "role"
        if role_key not in turn or CONTENT_KEYS[role_key] not in turn:
            row.fault("turn_shape", where=where)
            continue
        role, roles = turn[role_key], ROLE_KEYS[role_key]
        if not isinstance(role, str) or role not in roles:
            row.fault("unknown_role", where=where, role=shown(role), right=" / ".join(roles))
            role = "user"  # only the content is looked at now
        yield Turn(where, roles[role], turn[CONTENT_KEYS[role_key]])


@dataclass(frozen=True)
class Conversation:
    """Rows that hold a list of turns under one key: OpenAI's `messages`, ShareGPT's `conversations`."""

    key: str

    def turns(self, row: Row, values: dict[str, Any]) -> Iterator[Turn]:
        """Yield the turns of the list."""
        yield from _list_of_turns(row, values[self.key], self.key)


@dataclass(frozen=True)
class Alpaca:
    """`instruction`, `input`, `output`, and LLaMA-Factory's `history` (pairs of question and answer)."""

    key: str = "instruction"

    def turns(self, row: Row, values: dict[str, Any]) -> Iterator[Turn]:
        """Yield the history, then instruction and input as one user turn, then the output."""
        history = values.get("history") or []
        if not isinstance(history, list):
            history = [history]
        for number, pair in enumerate(history, 1):
            if isinstance(pair, list) and len(pair) == 2:
                yield Turn(f"history #{number}", "user", pair[0])
                yield Turn(f"history #{number}", "assistant", pair[1])
            else:
                row.fault("history_shape", where=f"history #{number}")
        question = values["instruction"]
        if (extra := values.get("input")) is not None and isinstance(question, str):
            question = f"{question.rstrip()}\n{extra}" if isinstance(extra, str) else extra
        yield Turn("instruction", "user", question)
        yield from _answer(row, values, ("output",))


@dataclass(frozen=True)
class PromptCompletion:
    """`prompt` with `completion` (or `response`), as text or, as trl has it too, as lists of messages."""

    key: str = "prompt"

    def turns(self, row: Row, values: dict[str, Any]) -> Iterator[Turn]:
        """Yield the prompt's turns, then the completion's."""
        prompt = values["prompt"]
        if isinstance(prompt, list):
            yield from _list_of_turns(row, prompt, "prompt")
        else:
            yield Turn("prompt", "user", prompt)
        yield from _answer(row, values, ("completion", "response"))


def _answer(row: Row, values: dict[str, Any], names: tuple[str, ...]) -> Iterator[Turn]:
    name = next((name for name in names if name in values), None)
    if name is None:
        row.fault("no_answer_field", field=" / ".join(names), keys=_keys(values))
    elif isinstance(values[name], list) and isinstance(values.get("prompt"), list):
        yield from _list_of_turns(row, values[name], name)
    else:
        yield Turn(name, "assistant", values[name])


FORMATS = (Conversation("messages"), Conversation("conversations"), Alpaca(), PromptCompletion())


def read_row(values: Any) -> Row:
    """Turn one decoded JSON row of any known format into trimmed messages, or say all that is wrong with it."""
    row = Row()
    if not isinstance(values, dict):
        row.fault("not_object", type=json_type(values))
        return row
    reader = next((reader for reader in FORMATS if reader.key in values), None)
    if reader is None:
        row.fault("unknown_format", keys=_keys(values))
        return row
    turns = [turn for turn in reader.turns(row, values) if not _says_nothing(turn)]
    if not _says_nothing(own := Turn("system", "system", values.get("system"))):
        turns.insert(0, own)
    if not row.faults:
        _check_order(row, turns)
    row.messages = [{"role": turn.role, "content": _text(row, turn)} for turn in turns]
    return row


def _says_nothing(turn: Turn) -> bool:
    """An empty system prompt is none: many exports write one into every row."""
    content = _joined(turn.content)
    return turn.role == "system" and (content is None or (isinstance(content, str) and not trim(content)))


def _check_order(row: Row, turns: list[Turn]) -> None:
    systems = [index for index, turn in enumerate(turns) if turn.role == "system"]
    if len(systems) > 1:
        row.fault("two_systems", where=turns[systems[1]].where)
    elif systems and systems[0] != 0:
        row.fault("system_late", where=turns[systems[0]].where)
    talk = [turn for turn in turns if turn.role != "system"]
    if not any(turn.role == "assistant" for turn in talk):
        row.fault("no_assistant")
        return
    if talk[0].role == "assistant":
        row.fault("assistant_first", where=talk[0].where)
    for earlier, turn in itertools.pairwise(talk):
        if earlier.role == turn.role:
            row.fault("two_users" if turn.role == "user" else "two_assistants", where=f"{earlier.where} + {turn.where}")
    if talk[-1].role == "user":
        row.fault("user_last", where=talk[-1].where)


def _text(row: Row, turn: Turn) -> str:
    content = _joined(turn.content)
    if not isinstance(content, str):
        row.fault("content_type", where=turn.where, type=json_type(content))
        return ""
    if not (text := trim(content)):
        row.fault("empty", where=turn.where)
    if bad := _BAD.search(text):
        row.fault("bad_character", where=turn.where, character=f"U+{ord(bad[0]):04X}")
    return text


def _joined(content: Any) -> Any:
    """The text of OpenAI's content parts, a list of which a content may be; anything else as it is."""
    if isinstance(content, list) and content and all(map(_is_text_part, content)):
        return "".join(part["text"] for part in content)
    return content


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _keys(values: dict[str, Any]) -> str:
    return ", ".join(shown(key, 30) for key in list(values)[:12]) or "–"
