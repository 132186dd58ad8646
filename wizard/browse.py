"""Rows to look through on a terminal, drawn in place: the keys move through them and lead on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from lora_trainer.errors import Cancelled
from wizard.prompts import Back, require_terminal
from wizard.screen.browsing import Browsing, Pressed
from wizard.screen.keys import ENTER, ESCAPE_SECONDS

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.layout import Window

_FULL_WIDTH = 0xFEE0
"""From a letter to what an input method for Chinese makes of it."""


def browse(
    head: Sequence[str],
    rows: Sequence[str],
    foot: Sequence[str],
    *,
    keys: Sequence[str],
    at: int = 0,
    numbers: Sequence[int] = (),
    points: bool = True,
) -> Pressed:
    """Rows between a head and a foot, until one of `keys` ("enter", "space", a letter) is pressed.

    The arrow keys, j and k, PageUp and PageDown, Home and End move a pointer from `at`, or where nothing `points` the
    rows themselves, of which as many are seen as there is room for. Digits go to the row whose number they make. What
    was shown is taken away again. Raises Back for Esc and Cancelled for Ctrl-C.
    """
    require_terminal("--history")
    from prompt_toolkit.application import Application
    from prompt_toolkit.data_structures import Point
    from prompt_toolkit.layout import HSplit, Layout, Window
    from prompt_toolkit.layout.controls import FormattedTextControl
    from prompt_toolkit.styles import Style

    picture = Browsing(rows, at, numbers, points=points)

    def here() -> Point:
        return Point(0, picture.at)

    control = FormattedTextControl(lambda: [*picture.text()], focusable=True, get_cursor_position=here)
    control.show_cursor = False
    scroll = None if points else lambda _: picture.at
    window = Window(control, dont_extend_height=True, get_vertical_scroll=scroll)
    picture.seen = lambda: window.render_info.window_height if window.render_info else 1
    parts = [_still(head, "bold"), window, *([_still(foot, "class:foot")] if foot else [])]
    application: Application[Pressed] = Application(
        Layout(HSplit(parts), focused_element=window),
        key_bindings=_bindings(picture, keys),
        style=Style([("pointer", "fg:ansicyan bold"), ("foot", "fg:ansibrightblack")]),
        erase_when_done=True,
    )
    application.ttimeoutlen = ESCAPE_SECONDS
    try:
        return application.run()
    except (KeyboardInterrupt, EOFError):
        raise Cancelled("error.cancelled") from None


def leaf(
    draw: Callable[[int, int, int], list[str]], count: int, keys: Collection[str], first: int = 0
) -> tuple[str, int]:
    """Show one of `count` things, the one at `first` to begin with, until a key is pressed that leads away from it.

    `draw(at, width, height)` makes its lines for a terminal of that size; the arrow keys go to its neighbours. Returns
    the key (ENTER, or one of the letters `keys`) and where the user was. What was shown is taken away again. Raises
    Back for Esc and Cancelled for Ctrl-C.
    """
    from prompt_toolkit.application import Application
    from prompt_toolkit.layout import Layout, Window
    from prompt_toolkit.layout.controls import FormattedTextControl

    at = first

    def text() -> str:
        size = application.output.get_size()
        return "\n".join(draw(at, size.columns, size.rows))

    def go(by: int) -> None:
        nonlocal at
        at = max(0, min(count - 1, at + by))

    window = Window(FormattedTextControl(text, show_cursor=False), always_hide_cursor=True, wrap_lines=False)
    application: Application[str] = Application(
        layout=Layout(window), key_bindings=_leafing_keys(go, keys), erase_when_done=True
    )
    application.ttimeoutlen = ESCAPE_SECONDS
    try:
        return application.run(), at
    except (KeyboardInterrupt, EOFError):
        raise Cancelled("error.cancelled") from None


def _leafing_keys(go: Callable[[int], None], letters: Collection[str]) -> KeyBindings:
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()
    for names, by in ((("right", "down", "pagedown", " "), 1), (("left", "up", "pageup"), -1)):
        for name in names:

            @keys.add(name)
            def turn(_: Any, by: int = by) -> None:
                go(by)

    for letter in letters:
        for name in (letter, letter.upper(), chr(ord(letter) + _FULL_WIDTH)):

            @keys.add(name)
            def leave(event: Any, letter: str = letter) -> None:
                event.app.exit(result=letter)

    @keys.add("enter")
    def done(event: Any) -> None:
        event.app.exit(result=ENTER)

    @keys.add("escape", eager=True)
    def back(event: Any) -> None:
        event.app.exit(exception=Back())

    @keys.add("c-c")
    @keys.add("<sigint>")
    def cancel(event: Any) -> None:
        event.app.exit(exception=KeyboardInterrupt())

    return keys


def _still(lines: Sequence[str], style: str) -> Window:
    """Lines that don't move."""
    from prompt_toolkit.layout import Window
    from prompt_toolkit.layout.controls import FormattedTextControl

    return Window(FormattedTextControl([(style, "\n".join(lines))]), height=len(lines), dont_extend_height=True)


def _bindings(picture: Browsing, keys: Sequence[str]) -> KeyBindings:
    from prompt_toolkit.key_binding import KeyBindings

    bindings = KeyBindings()
    for name, do in picture.actions(keys).items():

        def press(event: Any, do: Callable[[], Pressed | None] = do) -> None:
            if (pressed := do()) is not None:
                event.app.exit(result=pressed)

        # an Enter that comes while the rows are still being drawn is a line's end
        for key in (name, "c-j") if name == "enter" else (name,):
            bindings.add(key)(press)

    bindings.add("escape", eager=True)(lambda event: event.app.exit(exception=Back()))
    for name in ("c-c", "<sigint>"):
        bindings.add(name)(lambda event: event.app.exit(exception=KeyboardInterrupt()))
    return bindings
