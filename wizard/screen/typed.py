"""One line that the user types, in which Esc counts at once. Elsewhere than on a terminal, a line of the input."""

from __future__ import annotations

import os
import sys

from wizard.screen import output
from wizard.screen.layout import cells

ESCAPE = "\x1b"
_SECONDS = 0.05
"""The other bytes of an arrow key come within this time."""


def is_terminal() -> bool:
    """Whether somebody can answer."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def line(prompt: str) -> str:
    """What was typed behind `prompt`; ESCAPE where that key was pressed. Raises EOFError and KeyboardInterrupt.

    No byte behind the end of the line is read: what the user types ahead is for the next program.
    """
    if is_terminal() and os.name == "posix" and os.environ.get("TERM") != "dumb":
        return _keys(prompt)
    output.write(prompt)
    text = _line_of_input()
    if not text:
        raise EOFError
    return text.rstrip("\r\n")


def _line_of_input() -> str:
    if sys.stdin.isatty():
        return sys.stdin.readline()
    taken = b""
    while not taken.endswith(b"\n") and (byte := os.read(sys.stdin.fileno(), 1)):
        taken += byte
    return taken.decode(sys.stdin.encoding or "utf-8", errors="replace")


def _keys(prompt: str) -> str:
    import codecs
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    decoder = codecs.getincrementaldecoder(sys.stdin.encoding or "utf-8")(errors="replace")
    text = ""
    try:
        # Not what discards what was typed ahead. Before anybody can answer: a Ctrl-D that comes earlier is no key here.
        tty.setcbreak(terminal, termios.TCSADRAIN)
        output.write(prompt)
        while True:
            byte = os.read(terminal, 1)
            if byte in (b"\r", b"\n"):
                output.write("\n")
                return text
            if byte in (b"", b"\x04") and not text:
                raise EOFError
            if byte == ESCAPE.encode():
                if _is_alone(terminal):
                    output.write("\n")
                    return ESCAPE
            elif byte in (b"\x7f", b"\x08"):
                _erase(text[-1:])
                text = text[:-1]
            elif byte == b"\x15":
                _erase(text)
                text = ""
            elif (character := decoder.decode(byte)).isprintable():
                text += character
                output.write(character)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _erase(text: str) -> None:
    output.write("\b \b" * cells(text))


def _is_alone(terminal: int) -> bool:
    """Whether an Esc is the key of that name; the other bytes of any other key are taken out of the way."""
    from select import select

    if not select([terminal], [], [], _SECONDS)[0]:
        return True
    byte = os.read(terminal, 1)
    if byte in (b"[", b"O"):
        while select([terminal], [], [], _SECONDS)[0] and not b"@" <= os.read(terminal, 1) <= b"~":
            pass
    return False
