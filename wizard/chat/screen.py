"""What a conversation looks like: answers as they come, on a terminal broken between words; elsewhere as they are."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wizard.screen import output
from wizard.screen.keyboard import Keyboard
from wizard.screen.layout import cells, paragraphs, terminal_width
from wizard.words import t

if TYPE_CHECKING:
    from lora_trainer.errors import UserError
    from lora_trainer.events import Event
    from wizard.chat.session import Reply

Heard = Callable[[str], None]
_PIECE = re.compile(r"\n|[^\S\n]*[（“「『《]*(?:[!-~\u00a1-\u1fff]+|\S)[，。；：、！？…）”」』》]*|[^\S\n]+")
"""What is never broken: a word of letters, or a wide character, with the punctuation that belongs to it."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]|\x1b")


class Flow:
    """Text that comes in pieces, written in lines of at most `width` cells; the last word waits for its end."""

    def __init__(self, write: Callable[[str], None], width: int) -> None:
        self._write, self._width = write, width
        self._column = 0
        self._waiting = ""

    def __call__(self, piece: str) -> None:
        """Write what of it is whole."""
        # what would move the cursor or ring the bell is no text
        self._waiting += _CONTROL.sub("", piece.replace("\r\n", "\n").replace("\t", "    "))
        *whole, self._waiting = _PIECE.findall(self._waiting) or [""]
        for part in whole:
            self._put(part)

    def end(self) -> None:
        """Write what is left, and a line's end."""
        self._put(self._waiting)
        self._write("\n")
        self._waiting, self._column = "", 0

    def _put(self, part: str) -> None:
        if part == "\n":
            self._write("\n")
            self._column = 0
            return
        if self._column and self._column + cells(part.rstrip()) > self._width:
            self._write("\n")
            self._column, part = 0, part.lstrip()
        while cells(part) > self._width:  # a word wider than the terminal
            room = self._width - self._column
            cut = next(at for at in range(len(part), 0, -1) if cells(part[:at]) <= max(2, room))
            self._write(part[:cut] + "\n")
            self._column, part = 0, part[cut:]
        self._write(part)
        self._column += cells(part)


class ChatScreen:
    """Where a conversation is shown. On a terminal with lines of what happens; else the answers alone go to stdout, and
    the rest to stderr. `silent`: not even the answers, which somebody else tells.
    """

    def __init__(self, *, terminal: bool, silent: bool = False) -> None:
        self.terminal = terminal
        self.width = terminal_width() - 1 if terminal else 10_000
        self._silent = silent
        self._colours = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._beside = sys.stdout if terminal else sys.stderr
        self._keyboard = Keyboard()

    def line(self, text: str) -> None:
        """Prose."""
        for part in paragraphs(text, self.width):
            output.write(part + "\n", self._beside)

    def note(self, key: str, **values: Any) -> None:
        """A line about the conversation."""
        self._dim(t(key, **values))

    def problem(self, error: UserError) -> None:
        """What went wrong; the conversation goes on."""
        self._dim(t(error.key, **error.values), "33")

    def _dim(self, text: str, style: str = "2") -> None:
        for part in paragraphs(text, self.width):
            output.write((f"\x1b[{style}m{part}\x1b[0m" if self._colours else part) + "\n", self._beside)

    def listen(self, event: Event) -> None:
        """Tell a note of the pipeline where no screen does."""
        from lora_trainer.events import Note

        if isinstance(event, Note):
            self._dim(t(event.key, **event.values))

    def answering(self, ask: Callable[[Heard], Reply]) -> Reply:
        """Let `ask` get an answer, and show it as it comes; what is typed meanwhile isn't shown, and is forgotten."""
        if not self.terminal:
            write = (lambda _: None) if self._silent else output.write
            reply = ask(write)
            write("\n")
            if reply.broken_off:
                raise KeyboardInterrupt
            self._ended(reply)
            return reply
        flow, thinks = Flow(output.write, self.width), False

        def hear(piece: str) -> None:
            nonlocal thinks
            if not piece and not thinks:
                self.note("chat.thinking")
                thinks = True
            flow(piece)

        self._keyboard.hush()
        try:
            reply = ask(hear)
        finally:
            self._keyboard.restore()
            flow.end()
        self._ended(reply)
        return reply

    def _ended(self, reply: Reply) -> None:
        if reply.broken_off:
            self.note("chat.broken_off")
        elif not reply.text:
            self.note("chat.empty")
        elif not reply.stopped:
            self.note("chat.unfinished")
        if reply.forgotten:
            self.note("chat.forgotten")
