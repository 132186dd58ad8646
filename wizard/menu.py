"""A menu on a terminal: rows that digits and arrow keys go to, drawn in place, and one line of it once it is answered.

A library that draws menus takes longer to load than all else that the first question needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wizard.screen import keys, output
from wizard.screen.browsing import FULL_WIDTH
from wizard.screen.layout import cells, cut, terminal_width, wrap

DIGITS = "1234567890abcdefghilmnopqrstuvwxyz"
"""What rows are chosen by, in order; j and k are arrows."""
QUESTION, ANSWER, POINTED, STILL = "1", "36", "1;36", "90"
"""Colours (SGR)."""
_LOOK_SECONDS = 0.3
"""How often the terminal's size is looked at while no key comes."""
_SHOW, _HIDE = "\x1b[?25h\x1b[?2004l", "\x1b[?25l\x1b[?2004h"
"""The cursor; and whether pasted text is told apart from keys."""


@dataclass(frozen=True)
class Line:
    """One row: what it says, what is said of it once it is chosen, and the key that goes to it."""

    title: str
    answer: str
    key: str
    """Empty where none is left, or it can't be chosen."""
    disabled: bool = False


def keyed(wanted: Sequence[str | None], can_be_chosen: Sequence[bool]) -> list[str]:
    """The key of each row: the wanted one, else the next free of DIGITS; empty for those that can't be chosen."""
    free = iter([digit for digit in DIGITS if digit not in wanted])
    return [(own or next(free, "")) if fits else "" for own, fits in zip(wanted, can_be_chosen, strict=True)]


def choose(
    message: str, lines: Sequence[Line], at: int, hint: str, renew: Callable[[], Sequence[Line] | None] = lambda: None
) -> int | None:
    """Ask until Enter: which of `lines`, from `at` on (one that can be chosen); None for Esc, which takes all away.

    `hint` stands behind the question. `renew` is called while no key comes: lines with more on them, as many and with
    the same keys, where there are any by then. Raises KeyboardInterrupt for Ctrl-C and EOFError where the terminal is
    gone.
    """
    menu = _Menu(message, lines, at, hint)
    output.write(_HIDE)
    try:
        with keys.Keys() as pressed:
            menu.draw()
            while True:
                key = pressed.next(_LOOK_SECONDS)
                if key == keys.CANCEL:
                    raise KeyboardInterrupt
                if key == keys.ESCAPE:
                    menu.clear()
                    return None
                if key == keys.ENTER:
                    menu.close()
                    return menu.at
                if not key and (newer := renew()) is not None:
                    menu.lines = newer
                    menu.draw()
                elif menu.take(FULL_WIDTH.get(key, key)) or menu.fits_no_more():
                    menu.draw()
    except KeyboardInterrupt:
        menu.close(answered=False)
        raise
    finally:
        output.write(_SHOW)


class _Menu:
    def __init__(self, message: str, lines: Sequence[Line], at: int, hint: str) -> None:
        self._message, self.lines, self._hint = message, lines, hint
        self._can = [number for number, line in enumerate(lines) if not line.disabled]
        self.at = at
        self._drawn: list[str] = []
        self._size = os.get_terminal_size()

    def take(self, key: str) -> bool:
        """Go where a key leads; whether that is elsewhere."""
        before, place = self.at, self._can.index(self.at)
        if key in (keys.UP, keys.DOWN):
            self.at = self._can[(place + (1 if key == keys.DOWN else -1)) % len(self._can)]
        elif key in (keys.HOME, keys.END):
            self.at = self._can[0 if key == keys.HOME else -1]
        elif key:
            self.at = next((number for number in self._can if self.lines[number].key == key), self.at)
        return self.at != before

    def fits_no_more(self) -> bool:
        """Whether the terminal has another size than what was drawn for."""
        return os.get_terminal_size() != self._size

    def draw(self) -> None:
        """Show the question and as many rows around the pointer as there is room for."""
        self.clear()
        self._size = os.get_terminal_size()
        width, height = self._size
        asked = self._asked(self._hint)
        room = max(1, height - 1 - len(asked))
        first = max(0, min(self.at - room // 2, len(self.lines) - room))
        shown = range(first, min(len(self.lines), first + room))
        rows = [(cut(self._row(number), width - 1), self._colour(number)) for number in shown]
        self._drawn = [cut(line, width - 1) for line in [*asked, *(row for row, _ in rows)]]
        painted = [output.painted(row, colour) if colour else row for row, colour in rows]
        output.write("\n".join([*self._painted(asked, self._hint, STILL), *painted]))

    def close(self, *, answered: bool = True) -> None:
        """Leave the question and its answer behind, on as few lines as they take."""
        answer = self.lines[self.at].answer if answered else ""
        self.clear()
        *before, last = self._asked("")
        room = os.get_terminal_size().columns - 2 - cells(last)
        answer = cut(answer, max(room, 1))
        lines = [*before, f"{last} {answer}".rstrip()]
        output.write("\n".join(self._painted(lines, answer, ANSWER)) + "\n")

    def clear(self) -> None:
        """Take away what was drawn, which a terminal that became narrower may have broken into more lines."""
        columns = max(1, os.get_terminal_size().columns)
        taken = sum(max(1, -(-cells(line) // columns)) for line in self._drawn)
        output.write("\r" + (f"\x1b[{taken - 1}A" if taken > 1 else "") + "\x1b[J")
        self._drawn = []

    def _asked(self, hint: str) -> list[str]:
        width = min(terminal_width(), os.get_terminal_size().columns)
        first, *rest = wrap(self._message, width - cells(hint) - 4)
        lines = [f"? {first}", *(f"  {line}" for line in rest)]
        return [*lines[:-1], f"{lines[-1]} {hint}".rstrip()]

    def _painted(self, asked: Sequence[str], behind: str, colour: str) -> list[str]:
        """The question's lines in their colours; what stands `behind` the last one has its own."""
        painted = []
        for number, line in enumerate(asked):
            tail = behind if number == len(asked) - 1 and behind and line.endswith(behind) else ""
            text = line[: len(line) - len(tail)]
            mark = output.painted("?", POINTED) if number == 0 else " "
            painted.append(mark + output.painted(text[1:], QUESTION) + (output.painted(tail, colour) if tail else ""))
        return painted

    def _row(self, number: int) -> str:
        line = self.lines[number]
        mark = "- " if line.disabled else f"{line.key})" if line.key else "  "
        return f"{' » ' if number == self.at else '   '}{mark} {line.title}"

    def _colour(self, number: int) -> str:
        return POINTED if number == self.at else STILL if self.lines[number].disabled else ""
