"""SillyTavern character cards, V1 to V3, as JSON or in a PNG.

V1 and V2: https://github.com/malfoyslastname/character-card-spec-v2 (spec_v1.md, spec_v2.md), V3:
https://github.com/kwaroran/character-card-spec-v3 (SPEC_V3.md). In a PNG it is base64 of the JSON in a tEXt chunk,
`ccv3` before `chara`. `<START>` begins an example dialogue, `{{user}}:` and `{{char}}:` (or the name) a turn.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

from data_desk.dialogue import Choices, Dialogue, Tally, in_turns, is_chinese
from data_desk.png import text_chunks
from data_desk.sample import Sample, parsed

_MOST_CARD = 16 << 20
"""Bytes of the largest card in a picture."""
_START = re.compile(r"<START>", re.IGNORECASE)
_CHAR = re.compile(r"\{\{char\}\}|<BOT>|<CHAR>", re.IGNORECASE)
_USER = re.compile(r"\{\{user\}\}|<USER>", re.IGNORECASE)


def reads(sample: Sample) -> bool:
    """Whether there is a card in it."""
    return _card(sample) is not None


def dialogues(sample: Sample, _: Choices, tally: Tally) -> Iterator[Dialogue]:
    """Each greeting as the answer to a "hello", then the example dialogues, all with the card's system prompt."""
    card = _card(sample) or {}
    name = _text(card, "nickname") or _text(card, "name")
    chinese = is_chinese(_text(card, "description") + _text(card, "first_mes") + name)
    system = system_prompt(card)
    more = card.get("alternate_greetings")
    greetings = [card.get("first_mes"), *(more if isinstance(more, list) else [])]
    for greeting in greetings:
        if isinstance(greeting, str) and greeting.strip():
            hello = "你好" if chinese else "Hello"
            dialogue = in_turns([("user", hello), ("assistant", _spoken(greeting, name, chinese))], tally, system)
            if dialogue is not None:
                yield dialogue
    for example in _START.split(_text(card, "mes_example")):
        spoken = [(role, _spoken(text, name, chinese)) for role, text in _turns(example, name)]
        if (dialogue := in_turns(spoken, tally, system)) is not None:
            yield dialogue


def system_prompt(card: dict[str, Any]) -> str:
    """Description, personality and scenario as one text, in which the user is called the user."""
    name = _text(card, "nickname") or _text(card, "name")
    parts = [_text(card, field).strip() for field in ("description", "personality", "scenario")]
    text = "\n\n".join(part for part in parts if part)
    text = _CHAR.sub(lambda _: name, text)
    return _USER.sub("用户" if is_chinese(text) else "the user", text)


def _spoken(text: str, name: str, chinese: bool) -> str:
    """What is said to the user calls the user you."""
    return _USER.sub("你" if chinese else "you", _CHAR.sub(lambda _: name, text))


def _turns(example: str, name: str) -> Iterator[tuple[str, str]]:
    """(role, text) of an example; what stands before the first name is nobody's."""
    user, char = r"\{\{user\}\}|<USER>", rf"\{{\{{char\}}\}}|<BOT>|<CHAR>|{re.escape(name or '<CHAR>')}"
    begins = re.compile(rf"^\s{{0,8}}(?:({user})|({char}))\s{{0,4}}[:：]", re.IGNORECASE)
    role, said = "", list[str]()
    for line in example.split("\n"):
        if found := begins.match(line):
            if role:
                yield role, "\n".join(said)
            role, said = "user" if found[1] else "assistant", [line[found.end() :]]
        else:
            said.append(line)
    if role:
        yield role, "\n".join(said)


def _card(sample: Sample) -> dict[str, Any] | None:
    """The fields of the card; None where there is none."""
    value = _in_picture(sample.data) if sample.data.startswith(b"\x89PNG") else sample.json
    if not isinstance(value, dict):
        return None
    inner = value.get("data")
    if isinstance(inner, dict) and str(value.get("spec", "")).startswith("chara_card"):
        value = inner
    has_name = isinstance(value.get("name"), str) and isinstance(value.get("description"), str)
    return value if has_name and isinstance(value.get("first_mes"), str) else None


def _in_picture(data: bytes) -> Any:
    chunks = text_chunks(data, ("ccv3", "chara"), _MOST_CARD)
    for keyword in ("ccv3", "chara"):
        if keyword in chunks:
            try:
                return parsed(base64.b64decode(chunks[keyword]).decode("utf-8"))
            except ValueError:
                continue
    return None


def _text(card: dict[str, Any], field: str) -> str:
    value = card.get(field)
    return value if isinstance(value, str) else ""
