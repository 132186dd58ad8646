"""Keys, one at a time as they are pressed. Nothing is loaded to read them: the first question is to come at once."""

from __future__ import annotations

import os
import sys
from select import select
from typing import Any

ENTER, ESCAPE, CANCEL, UP, DOWN, HOME, END = "enter", "escape", "cancel", "up", "down", "home", "end"
ESCAPE_SECONDS = 0.05
"""An Esc that nothing follows for so long is a key of its own, and not the beginning of an arrow's."""
_PLAIN = {
    **dict.fromkeys(("\r", "\n"), ENTER),
    **dict.fromkeys(("\x03", "\x11"), CANCEL),
    **dict.fromkeys(("\x0e", "j"), DOWN),
    **dict.fromkeys(("\x10", "k"), UP),
}
_SEQUENCES = {"A": UP, "B": DOWN, "H": HOME, "F": END, "1~": HOME, "7~": HOME, "4~": END, "8~": END}
"""Behind ESC [ or ESC O (ECMA-48, as xterm and the Linux console send them)."""
_PASTE, _PASTE_ENDS = "200~", b"\x1b[201~"
"""What a terminal puts around what is pasted, where it was asked to: a line end in it chooses nothing."""
_MOST_BYTES = 16
"""Of a sequence."""


def can_be_read() -> bool:
    """Whether this is a terminal that gives single keys and moves its cursor; those of Windows need a library."""
    return os.name == "posix" and os.environ.get("TERM", "") not in ("", "dumb")


class Keys:
    """The terminal on stdin gives each key, Ctrl-C too, and shows none; it is as it was when this is left."""

    _ahead = b""
    """A key that was pressed right after Esc, which may have ended the question: it is the next one's."""

    @classmethod
    def forget(cls) -> None:
        """A question begins whose keys are read in another way."""
        cls._ahead = b""

    def __enter__(self) -> Keys:
        import codecs
        import termios

        self._terminal = sys.stdin.fileno()
        self._decoder = codecs.getincrementaldecoder(sys.stdin.encoding or "utf-8")(errors="replace")
        self._before: list[Any] = termios.tcgetattr(self._terminal)
        mode = [*self._before]
        mode[0] &= ~termios.IXON
        mode[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
        mode[6] = [*mode[6]]
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._terminal, termios.TCSADRAIN, mode)  # not what discards what was typed ahead
        return self

    def __exit__(self, *_: object) -> None:
        import termios

        termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)

    def next(self, seconds: float) -> str:
        """The next key: a name of those above, or its character; empty where none comes within `seconds`, or one that
        means nothing here. Raises EOFError where the terminal is gone.
        """
        byte, Keys._ahead = Keys._ahead, b""
        if not byte:
            if not self._comes(seconds):
                return ""
            byte = self._read()
        if not byte:
            raise EOFError
        if byte == b"\x1b":
            return self._sequence() if self._comes(ESCAPE_SECONDS) else ESCAPE
        text = self._decoder.decode(byte)
        return _PLAIN.get(text, text if text.isprintable() else "")

    def _read(self) -> bytes:
        """A byte; none where the terminal is gone, which Linux tells as an error."""
        try:
            return os.read(self._terminal, 1)
        except OSError:
            return b""

    def _comes(self, seconds: float) -> bool:
        return bool(select([self._terminal], [], [], seconds)[0])

    def _sequence(self) -> str:
        byte = self._read()
        if byte not in (b"[", b"O"):
            Keys._ahead = byte
            return ESCAPE
        read = b""
        while len(read) < _MOST_BYTES and self._comes(ESCAPE_SECONDS):
            read += self._read()
            if b"@" <= read[-1:] <= b"~":
                break
        sequence = read.decode("ascii", errors="replace")
        if sequence == _PASTE:
            pasted = b""
            while not pasted.endswith(_PASTE_ENDS) and (byte := self._read()):
                pasted = (pasted + byte)[-len(_PASTE_ENDS) :]
        return _SEQUENCES.get(sequence, "")
