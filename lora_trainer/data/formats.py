"""One decoded row of any known format -> the messages of a dialogue, or all that is wrong with it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lora_trainer.data.names import (
    CALL_KEYS,
    CONTENT_KEYS,
    PAIRS,
    ROLE_KEYS,
    ROLES,
    SYSTEM_KEYS,
    THOUGHT_KEYS,
    TURN_LISTS,
    Pair,
)
from lora_trainer.data.written import json_type, keys_of, shown, trim

if TYPE_CHECKING:
    from lora_trainer.chat_format import Message

# NUL ends a C string in llama.cpp, and half a surrogate pair can't be written as UTF-8.
_BAD = re.compile("[\0\ud800-\udfff]")
_THOUGHT = re.compile("<think>(.*?)</think>", re.DOTALL)
_OPEN_THOUGHT = "<think>"


@dataclass
class Row:
    """What came of one row: the messages, or the faults (text key -> values)."""

    messages: list[Message] = field(default_factory=list)
    unlearnt: tuple[int, ...] = ()
    """The answers, counted from 0, that stand in the history of later ones and aren't learnt themselves."""
    thoughts: list[str] = field(default_factory=list)
    """What was thought before each answer, in order; "" where nothing was, or nothing that is text."""
    thoughtful: int = 0
    """Answers before which a thought stood, of whatever kind."""
    unfit_thoughts: list[tuple[str, str]] = field(default_factory=list)
    """Places of thoughts, and a character there that couldn't be learnt: a fault where they are to be, else nobody's
    concern.
    """
    tools: int = 0
    """Turns of programs, and questions to them, that were left out."""
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
    """system, user, assistant or tool."""
    content: Any
    marks: Mapping[str, Any] = field(default_factory=dict)
    """What else is said of it: weight, train, thoughts, calls."""


def read_row(values: Any) -> Row:
    """Turn one decoded row of any known format into trimmed messages, or say all that is wrong with it."""
    row = Row()
    if not isinstance(values, dict):
        row.fault("not_object", type=json_type(values))
        return row
    listed = _first(TURN_LISTS, values)
    pair = next((pair for pair in PAIRS if pair.question in values), None)
    if listed is not None:
        found = _list_of_turns(row, values[listed], listed)
    elif pair is not None:
        found = _pair(row, values, pair)
    else:
        row.fault("unknown_format", keys=keys_of(values))
        return row
    turns = [turn for turn in found if not _says_nothing(turn)]
    row.tools = sum(map(_is_of_tools, turns))
    turns = [turn for turn in turns if not _is_of_tools(turn)]
    system = _first(SYSTEM_KEYS, values)
    if system is not None and not _says_nothing(own := Turn(system, "system", values[system])):
        turns.insert(0, own)
    if not row.faults:
        _check_order(row, turns)
    row.messages = [{"role": turn.role, "content": _text(row, turn)} for turn in turns]
    answers = [turn for turn in turns if turn.role == "assistant"]
    row.unlearnt = tuple(number for number, turn in enumerate(answers) if not _is_learnt(row, turn))
    return row


def _first(names: tuple[str, ...], values: Mapping[str, Any]) -> str | None:
    for name in names:
        if name in values:
            return name
    return None


def _list_of_turns(row: Row, value: Any, name: str) -> Iterator[Turn]:
    if not isinstance(value, list):
        row.fault("turns_not_list", where=name, type=json_type(value))
        return
    for number, turn in enumerate(value, 1):
        where = f"{name} #{number}"
        if not isinstance(turn, dict):
            row.fault("turn_shape", where=where)
            continue
        role_key, content_key = _first(ROLE_KEYS, turn), _first(CONTENT_KEYS, turn)
        said = turn[role_key] if role_key else None
        role = ROLES.get(trim(said).casefold()) if isinstance(said, str) else None
        if role_key is None or (content_key is None and role != "tool" and not _calls(turn)):
            row.fault("turn_shape", where=where)
            continue
        if role is None:
            row.fault("unknown_role", where=where, role=shown(said), right="system / user / assistant")
            role = "user"  # only the content is looked at now
        yield Turn(where, role, turn[content_key] if content_key else None, turn)


def _pair(row: Row, values: dict[str, Any], pair: Pair) -> Iterator[Turn]:
    """The history, then question and what is added to it as one user turn, then the answer.

    Question and answer may be lists of turns too, as trl has them.
    """
    history = (values.get(pair.history) if pair.history else None) or []
    if not isinstance(history, list):
        history = [history]
    for number, both in enumerate(history, 1):
        if isinstance(both, list) and len(both) == 2:
            yield Turn(f"{pair.history} #{number}", "user", both[0])
            yield Turn(f"{pair.history} #{number}", "assistant", both[1])
        else:
            row.fault("history_shape", where=f"{pair.history} #{number}")
    question = values[pair.question]
    if pair.adds and (extra := values.get(pair.adds)) is not None and isinstance(question, str):
        question = f"{question.rstrip()}\n{extra}" if isinstance(extra, str) else extra
    yield from _side(row, pair.question, "user", question)
    answer = _first(pair.answers, values)
    if answer is None:
        row.fault("no_answer_field", field=" / ".join(pair.answers), keys=keys_of(values))
    else:
        thought = {key: values[key] for key in THOUGHT_KEYS if key in values}
        yield from _side(row, answer, "assistant", values[answer], thought)


def _side(row: Row, name: str, role: str, value: Any, marks: Mapping[str, Any] | None = None) -> Iterator[Turn]:
    if isinstance(value, list) and isinstance(_joined(value), list):
        yield from _list_of_turns(row, value, name)
    else:
        yield Turn(name, role, value, marks or {})


def _says_nothing(turn: Turn) -> bool:
    """An empty system prompt is none: many exports write one into every row."""
    return turn.role == "system" and _is_blank(turn.content)


def _is_of_tools(turn: Turn) -> bool:
    """A program's turn, or an answer that only asks one: what a character says is none of these."""
    return turn.role == "tool" or (turn.role == "assistant" and _calls(turn.marks) and _is_blank(turn.content))


def _calls(marks: Mapping[str, Any]) -> bool:
    return any(marks.get(key) for key in CALL_KEYS)


def _is_blank(content: Any) -> bool:
    content = _joined(content)
    return content is None or (isinstance(content, str) and not trim(content))


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
    text = trim(content)
    if turn.role == "assistant":
        text = _behind_thought(row, turn, text)
    if not text:
        row.fault("empty", where=turn.where)
    if bad := _BAD.search(text):
        row.fault("bad_character", where=turn.where, character=f"U+{ord(bad[0]):04X}")
    return text


def _behind_thought(row: Row, turn: Turn, text: str) -> str:
    """The answer alone; what was thought before it is noted by itself."""
    answer = text
    told = [turn.marks[key] for key in THOUGHT_KEYS if turn.marks.get(key)]
    thoughts = [trim(joined) for each in told if isinstance(joined := _joined(each), str)]
    while thought := _THOUGHT.match(answer):
        thoughts.append(trim(thought[1]))
        answer = trim(answer[thought.end() :])
    if answer.startswith(_OPEN_THOUGHT):
        row.fault("open_thought", where=turn.where)
    row.thoughts.append("\n\n".join(filter(None, thoughts)))
    row.thoughtful += answer != text or any(isinstance(each, str | list | dict) for each in told)
    if bad := _BAD.search(row.thoughts[-1]):
        row.unfit_thoughts.append((turn.where, f"U+{ord(bad[0]):04X}"))
    return answer


def _is_learnt(row: Row, turn: Turn) -> bool:
    """Whether `weight` (0 or 1, of OpenAI's fine-tuning format) and `train` (true or false) let an answer be learnt."""
    learnt = True
    for name in ("weight", "train"):
        value = turn.marks.get(name)
        if value is None:
            continue
        if isinstance(value, bool) is not (name == "train") or value not in (0, 1):
            row.fault("weight", where=turn.where, name=name, value=shown(value))
        learnt = learnt and value != 0
    return learnt


def _joined(content: Any) -> Any:
    """The text of OpenAI's content parts, a list of which a content may be; anything else as it is."""
    if isinstance(content, list) and content and all(map(_is_text_part, content)):
        return "".join(part["text"] for part in content)
    return content


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
