"""The only importer of questionary: one way to ask each kind of question.

Ctrl-C raises Cancelled anywhere, Esc raises Back where there is a way back, and where nobody can answer a question
raises DecisionNeeded with the flag that answers it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lora_trainer.errors import Cancelled, DecisionNeeded, UserError
from wizard.screen import keys
from wizard.screen.browsing import FULL_WIDTH
from wizard.screen.keys import ESCAPE_SECONDS
from wizard.screen.layout import aligned
from wizard.words import t

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding import KeyBindings
    from questionary import Question

_allowed = True
_asked = 0


class Back(Exception):
    """The user wants the question before this one."""


@dataclass(frozen=True)
class Wrong:
    """What is the matter with a line, said at the field, which stays filled; or has the `proposal` instead."""

    reason: str
    proposal: str | None = None

    @classmethod
    def of(cls, error: UserError) -> Wrong:
        """What an error says, on one line."""
        return cls(t(error.key, **error.values).replace("\n", " "))


@dataclass(frozen=True)
class Row:
    """One row of a menu."""

    value: Any
    title: str
    disabled: bool = False
    """Shown, but not to be chosen."""
    key: str | None = None
    """The digit that chooses it, where that isn't its place."""
    name: str | None = None
    """What is said of it once it is chosen; None: its title."""


def in_columns(values: Iterable[Any], columns: Sequence[Sequence[str]], disabled: Collection[int] = ()) -> list[Row]:
    """Rows whose titles stand in columns, of which the first one names the row; the places of those not to choose."""
    titles = aligned(columns)
    return [
        Row(value, title, number in disabled, name=parts[0].strip())
        for number, (value, title, parts) in enumerate(zip(values, titles, columns, strict=True))
    ]


def forbid() -> None:
    """Ask nothing from now on, not even on a terminal."""
    global _allowed
    _allowed = False


def can_ask() -> bool:
    """Whether somebody can answer."""
    return _allowed and sys.stdin.isatty() and sys.stdout.isatty()


def can_draw() -> bool:
    """Whether the terminal moves its cursor, so that a picture can be drawn in place."""
    return os.environ.get("TERM", "") not in ("", "dumb") or os.name == "nt"


def asked() -> int:
    """How many questions were asked so far."""
    return _asked


def require_terminal(flag: str) -> None:
    """Raise DecisionNeeded, naming `flag`, where nobody can answer."""
    if not can_ask():
        raise DecisionNeeded("error.decision_needed", flag=flag)


def select(
    message: str,
    rows: Sequence[Row | tuple[Any, str]],
    *,
    flag: str,
    default: Any = None,
    renew: Callable[[], Sequence[Row] | None] = lambda: None,
) -> Any:
    """The value of one of `rows` (or (value, title)): by digit, arrow keys or j and k, then Enter.

    The cursor stands on the row whose value is `default`, else on the first. `renew`: the same rows with more on them,
    as soon as that is known.
    """
    require_terminal(flag)
    menu = [row if isinstance(row, Row) else Row(*row) for row in rows]
    can = [number for number, row in enumerate(menu) if not row.disabled]
    first = next((number for number in can if default is not None and menu[number].value == default), can[0])
    chosen = _choose(message, menu, first, renew) if keys.can_be_read() else _choose_elsewhere(message, menu, first)
    return menu[chosen].value


def _choose(message: str, rows: Sequence[Row], first: int, renew: Callable[[], Sequence[Row] | None]) -> int:
    from wizard.menu import Line, choose, keyed

    global _asked
    _asked += 1

    def lines(rows: Sequence[Row]) -> list[Line]:
        digits = keyed([row.key for row in rows], [not row.disabled for row in rows])
        return [Line(r.title, r.name or r.title, key, r.disabled) for r, key in zip(rows, digits, strict=True)]

    def newer() -> list[Line] | None:
        more = renew()
        return None if more is None else lines(more)

    try:
        chosen = choose(message, lines(rows), first, t("ask.escape"), newer)
    except (KeyboardInterrupt, EOFError):
        raise Cancelled("error.cancelled") from None
    if chosen is None:
        raise Back
    return chosen


def _choose_elsewhere(message: str, rows: Sequence[Row], first: int) -> int:
    """The same on Windows, and on a terminal that can't move its cursor."""
    import questionary

    choices = [
        questionary.Choice(row.title, value=number, disabled=row.disabled, shortcut_key=row.key)
        for number, row in enumerate(rows)
    ]
    question = questionary.select(
        _broken(message),
        choices,
        default=choices[first],
        use_shortcuts=True,
        instruction=t("ask.escape"),
        style=_style(),
        qmark="?",
    )
    return int(_ask(question, _digits()))


def text(message: str, *, flag: str, default: str = "", check: Callable[[str], Wrong | None]) -> str:
    """A line of text, without the blanks around it; what `check` finds wrong is said above the field."""
    require_terminal(flag)
    import questionary
    from prompt_toolkit.key_binding import KeyBindings

    said: list[str] = []
    question = questionary.text(
        _broken(message), default=default, instruction=t("ask.escape"), style=_style(), qmark="?"
    )
    bindings = KeyBindings()

    @bindings.add("enter", eager=True)
    def enter(event: Any) -> None:
        buffer = event.current_buffer
        wrong = check(buffer.text.strip())
        if wrong is None:
            said.clear()
            buffer.validate_and_handle()
            return
        said[:] = [wrong.reason]
        if wrong.proposal is not None:
            buffer.text = wrong.proposal
            buffer.cursor_position = len(wrong.proposal)

    # in place of prompt_toolkit's own line for it, which stands at the bottom of the terminal
    _say_above(question, said)
    return str(_ask(question, bindings)).strip()


class Lines:
    """Lines that are typed one after the other behind `mark`: the arrow keys bring the earlier ones back.

    What is pasted stays one, however many lines it has; Alt+Enter begins another line.
    """

    def __init__(self, mark: str) -> None:
        self._session, _ = _line_session(mark)

    def next(self) -> str:
        """The next one; raises EOFError (Ctrl-D in an empty one) and KeyboardInterrupt."""
        return self._session.prompt()

    def edit(self, mark: str, text: str) -> str:
        """What becomes of a `text` that stands in the line; of a terminal that shows none there, what is typed instead.

        Raises as `next`, and Back.
        """
        session, bindings = _line_session(mark)

        @bindings.add("escape")
        def leave(event: Any) -> None:
            event.app.exit(exception=Back())

        session.app.ttimeoutlen = session.app.timeoutlen = ESCAPE_SECONDS
        return session.prompt(default=text if can_draw() else "")


def _line_session(mark: str) -> tuple[PromptSession[str], KeyBindings]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding import KeyBindings

    from wizard.screen.layout import cells

    bindings = KeyBindings()

    @bindings.add("escape", "enter")
    def break_line(event: Any) -> None:
        event.current_buffer.insert_text("\n")

    session: PromptSession[str] = PromptSession(
        [("class:qmark", mark)],
        key_bindings=bindings,
        style=_style(),
        reserve_space_for_menu=0,
        prompt_continuation=" " * cells(mark),
    )
    return session, bindings


def confirm(message: str, *, flag: str, default: bool = False) -> bool:
    """Yes or no, then Enter."""
    require_terminal(flag)
    import questionary

    question = questionary.confirm(_broken(message), default=default, auto_enter=False, style=_style(), qmark="?")
    return bool(_ask(question))


def _broken(message: str) -> str:
    """The question in lines that break between words; the last one has room for how to go back."""
    from wizard.screen.layout import cells, terminal_width, wrap

    return "\n  ".join(wrap(message, terminal_width() - cells(t("ask.escape")) - 4))


def _say_above(question: Question, said: Sequence[str]) -> None:
    """Let `said` stand above the question."""
    from prompt_toolkit.filters import Condition
    from prompt_toolkit.formatted_text import to_formatted_text
    from prompt_toolkit.layout import HSplit, Window
    from prompt_toolkit.layout.containers import ConditionalContainer
    from prompt_toolkit.layout.controls import FormattedTextControl

    layout = question.application.layout
    words = FormattedTextControl(lambda: to_formatted_text([("class:wrong", f"✗ {line}") for line in said]))
    line = Window(words, dont_extend_height=True, wrap_lines=True)
    layout.container = HSplit([ConditionalContainer(line, Condition(lambda: bool(said))), layout.container])


def _digits() -> KeyBindings:
    """Full-width digits choose as the others do."""
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.key_binding.key_processor import KeyPress

    bindings = KeyBindings()
    for wide, plain in FULL_WIDTH.items():

        @bindings.add(wide, eager=True)
        def press(event: Any, plain: str = plain) -> None:
            event.key_processor.feed(KeyPress(plain), first=True)

    return bindings


def _ask(question: Question, *more: KeyBindings) -> Any:
    global _asked
    from prompt_toolkit.key_binding import KeyBindings, merge_key_bindings

    escape = KeyBindings()

    @escape.add("escape", eager=True)
    def leave(event: Any) -> None:
        event.app.erase_when_done = True
        event.app.exit(exception=Back())

    application = question.application
    own = [application.key_bindings] if application.key_bindings else []
    application.key_bindings = merge_key_bindings([*own, *more, escape])
    application.ttimeoutlen = ESCAPE_SECONDS
    keys.Keys.forget()
    _asked += 1
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
            ("selected", "noreverse"),
            ("answer", "fg:ansicyan"),
            ("instruction", "fg:ansibrightblack"),
            ("disabled", "fg:ansibrightblack"),
            ("wrong", "fg:ansired"),
        ]
    )
