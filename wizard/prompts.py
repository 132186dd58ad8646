"""The only importer of questionary: one way to ask each kind of question.

Ctrl-C raises Cancelled anywhere, Esc raises Back where there is a way back, and where nobody can answer a question
raises DecisionNeeded with the flag that answers it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lora_trainer.errors import Cancelled, DecisionNeeded
from wizard.words import t

if TYPE_CHECKING:
    from questionary import Question

_allowed = True


class Back(Exception):
    """The user wants the question before this one."""


def forbid() -> None:
    """Ask nothing from now on, not even on a terminal."""
    global _allowed
    _allowed = False


def can_ask() -> bool:
    """Whether somebody can answer."""
    return _allowed and sys.stdin.isatty() and sys.stdout.isatty()


def require_terminal(flag: str) -> None:
    """Raise DecisionNeeded, naming `flag`, where nobody can answer."""
    if not can_ask():
        raise DecisionNeeded("error.decision_needed", flag=flag)


def select(
    message: str, choices: Sequence[tuple[Any, str]], *, flag: str, default: Any = None, back: bool = False
) -> Any:
    """One of `choices` (value, title): by digit, arrow keys or j and k, then Enter."""
    require_terminal(flag)
    import questionary

    rows = [questionary.Choice(title, value=(value,)) for value, title in choices]
    if back:
        rows.append(questionary.Choice(t("ask.back"), value=()))
    question = questionary.select(
        message,
        rows,
        default=next((row for row, (value, _) in zip(rows, choices, strict=False) if value == default), None),
        use_shortcuts=len(rows) <= 36,
        instruction=" ",
        style=_style(),
        qmark="?",
    )
    answer = _ask(question, back)
    if answer == ():
        raise Back
    return answer[0]


def text(message: str, *, flag: str, default: str = "", check: Callable[[str], str | None], back: bool = False) -> str:
    """A line of text; `check` returns what is wrong with it, or None."""
    require_terminal(flag)
    import questionary

    def valid(line: str) -> bool | str:
        return check(line.strip()) or True

    hint = t("ask.escape") if back else None
    question = questionary.text(message, default=default, validate=valid, instruction=hint, style=_style(), qmark="?")
    return str(_ask(question, back)).strip()


def confirm(message: str, *, flag: str, default: bool = False, back: bool = False) -> bool:
    """Yes or no, then Enter."""
    require_terminal(flag)
    import questionary

    question = questionary.confirm(message, default=default, auto_enter=False, style=_style(), qmark="?")
    return bool(_ask(question, back))


def _ask(question: Question, back: bool) -> Any:
    if back:
        from prompt_toolkit.key_binding import KeyBindings, merge_key_bindings

        escape = KeyBindings()

        @escape.add("escape", eager=True)
        def leave(event: Any) -> None:
            event.app.erase_when_done = True
            event.app.exit(exception=Back())

        own = question.application.key_bindings
        question.application.key_bindings = merge_key_bindings([own, escape]) if own else escape
        question.application.ttimeoutlen = 0.05
    try:
        return question.unsafe_ask()
    except (KeyboardInterrupt, EOFError):
        raise Cancelled("error.cancelled") from None


def _style() -> Any:
    from questionary import Style

    return Style(
        [
            ("qmark", "fg:ansicyan bold"),
            ("question", "bold"),
            ("pointer", "fg:ansicyan bold"),
            ("highlighted", "fg:ansicyan bold"),
            ("answer", "fg:ansicyan"),
            ("instruction", "fg:ansibrightblack"),
        ]
    )
