"""Commands: what can be typed behind a slash. A command is one row of the table, and a text `chat.help.<name>`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from lora_trainer.errors import UsageError, UserError
from pipeline.flags import FLAGS
from pipeline.run.corrections import clean
from pipeline.serving import SAMPLING
from wizard.chat.lessons import Lessons
from wizard.chat.screen import ChatScreen
from wizard.chat.session import Session
from wizard.screen.layout import aligned, cells, cut, wrap
from wizard.words import t

_COMMAND = re.compile(r"[/／]([\w?]*)(?:\s+(.*))?", re.DOTALL)
"""A path ("/usr/bin") is none."""
RANGES = {flag.name: flag for flag in FLAGS if flag.name in SAMPLING}
ALIASES: Mapping[str, str] = {"?": "help", "h": "help", "exit": "bye", "quit": "bye", "q": "bye"}


class Leave(Exception):
    """The user wants to leave."""


@dataclass(frozen=True)
class Command:
    """One row: `usage` stands in `/help`; `run` gets what was typed behind the name and raises UsageError, Leave."""

    usage: str
    run: Callable[[Session, ChatScreen, str], None]


def command_in(text: str) -> tuple[str, str] | None:
    """The name and the rest of a line that is a command; None of one that is meant for the model."""
    found = _COMMAND.fullmatch(text.strip())
    if found is None:
        return None
    name = unicodedata.normalize("NFKC", found[1]).lower()
    return ALIASES.get(name, name), (found[2] or "").strip()


def obey(session: Session, screen: ChatScreen, name: str, rest: str) -> None:
    """Do what a command says; raises UsageError for one that there isn't, and for what its row raises."""
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, n=1)
        if near:
            raise UsageError("error.chat.misspelt", command=name, proposal=near[0])
        raise UsageError("error.chat.no_command", command=name, names=" ".join(f"/{known}" for known in COMMANDS))
    COMMANDS[name].run(session, screen, rest)


def _help(_: Session, screen: ChatScreen, __: str) -> None:
    wide = max(cells(command.usage) for command in COMMANDS.values()) + 4
    for name, command in COMMANDS.items():
        first, *rest = wrap(t(f"chat.help.{name}"), screen.width - wide)
        screen.line(f"  {command.usage}".ljust(wide - cells(command.usage) + len(command.usage)) + first)
        for more in rest:
            screen.line(" " * wide + more)
    screen.line(t("chat.help.keys"))


def _system(session: Session, screen: ChatScreen, rest: str) -> None:
    if not rest:
        screen.line(session.system or t("word.none"))
        return
    session.try_system("" if rest in ("-", "－") else rest)
    screen.note("chat.system_tried")


def _set(session: Session, screen: ChatScreen, rest: str) -> None:
    name, _, value = unicodedata.normalize("NFKC", rest).strip().partition(" ")
    name, value = name.strip().lower(), value.strip().replace("。", ".")
    if name and name not in RANGES:
        near = get_close_matches(name, RANGES, n=1)
        key = "error.chat.misspelt_parameter" if near else "error.chat.no_parameter"
        raise UsageError(key, name=name, proposal=near[0] if near else "", names=", ".join(RANGES))
    if not value:
        names = [name] if name else [*RANGES]
        for line in aligned([(f"  {one}", _value(session, one), _meaning(one)) for one in names], screen.width):
            screen.line(line)
        return
    session.try_parameter(name, _number(name, value))
    screen.note("chat.parameter_tried", name=name, value=_value(session, name))
    if name == "num_ctx":
        screen.note("chat.context_tried")


def _value(session: Session, name: str) -> str:
    value = session.parameter(name)
    return "-" if value is None else plain(value)


def plain(number: float) -> str:
    """A number as people write it: 0.6, 8192."""
    return str(int(number)) if number == int(number) else f"{number:g}"


def _meaning(name: str) -> str:
    flag = RANGES[name]
    return t(f"chat.parameter.{name}") + t("chat.range", low=plain(flag.low or 0), high=plain(flag.high or 0))


def _number(name: str, value: str) -> float:
    flag = RANGES[name]
    assert flag.low is not None and flag.high is not None
    values = {"name": name, "value": cut(value, 20), "low": plain(flag.low), "high": plain(flag.high)}
    try:
        number = int(value) if flag.kind == "int" else float(value)
    except (ValueError, OverflowError):
        key = "error.chat.no_whole_number" if flag.kind == "int" else "error.chat.no_number"
        raise UsageError(key, **values) from None
    if not flag.low <= number <= flag.high:
        raise UsageError("error.chat.range", **values)
    return number


def _retry(session: Session, screen: ChatScreen, _: str) -> None:
    if session.question is None:
        raise UsageError("error.chat.nothing_to_retry")
    if session.parameter("temperature") == 0:
        screen.note("chat.retry_at_zero")
    screen.answering(session.retry)


def _lessons(session: Session) -> Lessons:
    if session.lessons is None:
        raise UsageError("error.chat.not_taught_here")
    if session.last_answer is None:
        raise UsageError("error.chat.no_answer")
    return session.lessons


def _fix(session: Session, screen: ChatScreen, rest: str) -> None:
    lessons, answer = _lessons(session), session.last_answer
    assert answer is not None
    text = clean(rest or lessons.edit(answer["content"]) or "")
    if not text or text == clean(answer["content"]):
        screen.note("chat.fix.unchanged")
    else:
        _teach(session, screen, text, "chat.fix.done")


def _good(session: Session, screen: ChatScreen, _: str) -> None:
    _lessons(session)
    assert session.last_answer is not None
    if not (text := clean(session.last_answer["content"])):
        raise UsageError("error.chat.no_answer")
    _teach(session, screen, text, "chat.good.done")


def _teach(session: Session, screen: ChatScreen, text: str, done: str) -> None:
    lessons = _lessons(session)
    try:
        new = lessons.teach(session, text)
    except UserError as error:
        if not screen.terminal:
            raise
        screen.problem(error)
        screen.note("chat.lessons.wait", count=len(lessons.waiting))
        return
    screen.note(done if new else "chat.good.known")


def _undo(session: Session, screen: ChatScreen, _: str) -> None:
    if session.lessons is None or not session.lessons.undo(session):
        raise UsageError("error.chat.nothing_to_undo")
    screen.note("chat.undone")


def _clear(session: Session, screen: ChatScreen, _: str) -> None:
    session.clear()
    screen.note("chat.cleared")


def _reset(session: Session, screen: ChatScreen, _: str) -> None:
    session.reset()
    screen.note("chat.reset")


def _bye(_: Session, __: ChatScreen, ___: str) -> None:
    raise Leave


COMMANDS: Mapping[str, Command] = {
    "retry": Command("/retry", _retry),
    "fix": Command("/fix", _fix),
    "good": Command("/good", _good),
    "undo": Command("/undo", _undo),
    "set": Command("/set temperature 0.6", _set),
    "system": Command("/system …", _system),
    "reset": Command("/reset", _reset),
    "clear": Command("/clear", _clear),
    "help": Command("/help", _help),
    "bye": Command("/bye", _bye),
}
