"""Rows that a user looks through: where in them he is, and what each key does there. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

FULL_WIDTH = dict(zip("０１２３４５６７８９", "0123456789", strict=True))
"""What an input method for Chinese makes of the digits."""
_WIDER = 0xFEE0
"""From a letter to the one that such a method makes of it."""


@dataclass(frozen=True)
class Pressed:
    """A key that the rows were left with, and the one that the user was at."""

    key: str
    at: int


class Browsing:
    """`rows` from `at` on. Where it `points`, one of them is marked; else all move, past the first that is seen.

    `numbers` are what digits choose them by.
    """

    def __init__(self, rows: Sequence[str], at: int, numbers: Sequence[int] = (), *, points: bool) -> None:
        self._rows, self._numbers, self._points = rows, numbers, points
        self.at = max(0, min(at, len(rows) - 1))
        self._typed = ""
        self.seen: Callable[[], int] = lambda: 1
        """How many rows there is room for."""

    def text(self) -> list[tuple[str, str]]:
        """The rows as (style, text)."""
        if not self._points:
            return [("", "\n".join(self._rows))]
        marked = [("class:pointer", f"» {r}") if n == self.at else ("", f"  {r}") for n, r in enumerate(self._rows)]
        return [part for style, row in marked for part in ((style, row), ("", "\n"))][:-1]

    def actions(self, keys: Sequence[str]) -> dict[str, Callable[[], Pressed | None]]:
        """What each key does, by its name; `keys` ("enter", "space", a letter) leave the rows."""
        page = lambda pages: self._move(pages * max(1, self.seen() - 1))  # noqa: E731
        done: dict[str, Callable[[], Pressed | None]] = {
            **dict.fromkeys(("down", "j"), partial(self._move, 1)),
            **dict.fromkeys(("up", "k"), partial(self._move, -1)),
            "pagedown": partial(page, 1),
            "pageup": partial(page, -1),
            "home": partial(self._move, -len(self._rows)),
            "end": partial(self._move, len(self._rows)),
        }
        for wide, plain in FULL_WIDTH.items() if self._numbers else ():
            done |= dict.fromkeys((wide, plain), partial(self._digit, plain))
        for key in keys:
            done |= dict.fromkeys(_typed_as(key), partial(self._leave, key))
        return done

    def _leave(self, key: str) -> Pressed:
        return Pressed(key, self.at)

    def _move(self, by: int) -> None:
        last = len(self._rows) - (1 if self._points else self.seen())
        self.at, self._typed = max(0, min(self.at + by, last)), ""

    def _digit(self, digit: str) -> None:
        """Go to the row whose number is made by the digits that were typed one after the other, or by this one."""
        made = [typed for typed in (self._typed + digit, digit) if int(typed) in self._numbers]
        self._typed = made[0] if made else digit
        if made:
            self.at = list(self._numbers).index(int(made[0]))


def _typed_as(key: str) -> tuple[str, ...]:
    """The names of a key; a letter also as a capital and as an input method for Chinese makes both."""
    if key == "space":
        return " ", "\u3000"
    if len(key) > 1:
        return (key,)
    return key, key.upper(), chr(ord(key) + _WIDER), chr(ord(key.upper()) + _WIDER)
