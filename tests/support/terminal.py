"""A real pseudo-terminal with a real screen: keys in, what a user would see out."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pyte

from tests.support.project import ROOT
from wizard.screen.layout import cells

ENTER, ESCAPE, CTRL_C, DOWN, CLEAR = "\r", "\x1b", "\x03", "\x1b[B", "\x15"
PATIENCE = float(os.environ.get("TEST_PATIENCE", "300"))
"""Seconds after which what hasn't come will never come."""
CRUMBS = int(os.environ.get("TEST_CRUMBS", "0"))
"""Characters that are read at once, 0: all that are there. Few of them fail a test that looks at half a screen."""


def as_in_a_shell() -> None:
    """Hear what a terminal sends: a program ignores what whoever started it ignores, as nohup and CI do."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Terminal:
    """Runs this Python with `arguments` in a terminal of `columns` x `rows`; a context manager."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        columns: int = 80,
        rows: int = 24,
        environment: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        import pexpect  # Windows has none

        self._screen = pyte.HistoryScreen(columns, rows, history=2000, ratio=1e-9)
        self._stream = pyte.Stream(self._screen)
        self._unread = ""
        self._before = ("", "")  # what was to be seen when keys were last sent, as it is folded and unfolded
        language = {"LANG": "zh_CN.UTF-8", "LC_ALL": "", "LC_MESSAGES": "", "TRAIN_TO_OLLAMA_LANG": ""}
        # pyte answers no cursor position requests.
        quiet = {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "PYTHONPATH": str(ROOT)}
        self._child = pexpect.spawn(
            sys.executable,
            list(arguments),
            dimensions=(rows, columns),
            # a process of pytest-xdist has its own COLUMNS, which a whole environment brings along
            env={**os.environ, **language, **quiet, **(environment or {}), "COLUMNS": ""},
            cwd=str(cwd),
            encoding="utf-8",
            timeout=30,
            preexec_fn=as_in_a_shell,
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.close(force=True)

    @property
    def pid(self) -> int:
        """The program's process."""
        return int(self._child.pid)

    @property
    def columns(self) -> int:
        """How wide it is."""
        return int(self._screen.columns)

    def resize(self, columns: int, rows: int) -> Terminal:
        """Make the window another size, as a person does."""
        self._child.setwinsize(rows, columns)
        self._screen.resize(rows, columns)
        return self

    @property
    def echoes(self) -> bool:
        """Whether the terminal shows what is typed."""
        return bool(self._child.getecho())

    @property
    def screen(self) -> str:
        """What stands on the screen now, whole or half drawn."""
        # pyte's own `display` crashes while a wide character is half overwritten
        return "\n".join("".join(cell.data for cell in line).rstrip() for line in self.lines).rstrip()

    @property
    def lines(self) -> list[list[pyte.screens.Char]]:
        """The characters on the screen with their looks, row by row; behind a wide one stands one without text."""
        columns = range(self._screen.columns)
        return [[self._screen.buffer[row][column] for column in columns] for row in range(self._screen.lines)]

    @property
    def everything(self) -> str:
        """What stands on the screen and what has scrolled off it."""
        columns = range(self._screen.columns)
        gone = ["".join(row[i].data for i in columns).rstrip() for row in self._screen.history.top]
        return "\n".join([*gone, self.screen])

    @property
    def unfolded(self) -> str:
        """`everything`, each line that fills the screen's width joined to the next one.

        A command holds the path of the checkout, so that where it breaks is luck.
        """
        lines = self.everything.split("\n")
        whole = lines[0]
        for line, after in itertools.pairwise(lines):
            free, needed = self.columns - cells(line), cells(after[:1])
            # the last column may hold a space, or be too narrow for what comes next
            whole += ("" if needed > free else " " if free == 1 else "\n") + after
        return whole

    def has_shown(self, text: str) -> bool:
        """Whether a text was shown, wherever a path of this machine's length before it has broken its line."""
        return "".join(text.split()) in "".join(self.everything.split())

    def _read(self, seconds: float) -> bool:
        import pexpect

        try:
            self._unread = self._unread or self._child.read_nonblocking(65536, seconds)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        now, self._unread = self._unread[: CRUMBS or None], self._unread[CRUMBS:] if CRUMBS else ""
        # pyte stops drawing at a variation selector.
        self._stream.feed(now.replace("\ufe0f", ""))
        return True

    def wait_for(self, text: str, seconds: float = PATIENCE, *, unless: str = "") -> Terminal:
        """Read until `text` is seen, on the screen or scrolled off it, more often than when keys were last sent.

        What stood there before is no answer to the keys; and a quick program's last lines can all come in one reading,
        more than the screen holds. Where `unless` is seen in its place nobody has to wait any longer.
        """
        end = time.monotonic() + seconds
        while not self._is_new(text):
            if self._is_new(unless) or time.monotonic() > end or not self._read(0.1):
                raise AssertionError(f"{text!r} never came; the screen:\n{self.everything}")
        self._read_on()
        return self

    def _read_on(self) -> None:
        """Take along what belongs to the same picture, which may come in two readings; TEST_CRUMBS leaves it."""
        end = time.monotonic() + 0.3
        while not CRUMBS and time.monotonic() < end:
            before = self.everything
            if not self._read(0.05) or self.everything == before:
                return

    def settled(self) -> Terminal:
        """Read until nothing more comes for a moment: a menu may come in two readings."""
        while True:
            before = self.everything
            self._read(0.5)
            if self.everything == before and not self._unread:
                return self

    def _is_new(self, text: str) -> bool:
        return bool(text) and any(
            now.count(text) > then.count(text)
            for now, then in zip((self.everything, self.unfolded), self._before, strict=True)
        )

    def send(self, *keys: str) -> Terminal:
        """Press keys, one after the other as a person does."""
        self._before = self.everything, self.unfolded
        for key in keys:
            self._child.send(key)
            end = time.monotonic() + 0.15
            while (time.monotonic() < end or self._unread) and self._read(0.05):
                pass
        return self

    def finish(self, seconds: float = PATIENCE) -> int:
        """Read to the end and return the exit code (negative: the signal)."""
        end = time.monotonic() + seconds
        while self._read(0.2):
            if time.monotonic() > end:
                raise AssertionError(f"it never ended; the screen:\n{self.everything}")
        self._child.wait()
        return -self._child.signalstatus if self._child.signalstatus else int(self._child.exitstatus or 0)
