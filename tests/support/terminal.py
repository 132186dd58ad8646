"""A real pseudo-terminal with a real screen: keys in, what a user would see out."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pexpect
import pyte

from tests.support.project import ROOT

ENTER, ESCAPE, CTRL_C, DOWN, CLEAR = "\r", "\x1b", "\x03", "\x1b[B", "\x15"


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
        self._screen = pyte.HistoryScreen(columns, rows, history=2000, ratio=1e-9)
        self._stream = pyte.Stream(self._screen)
        self._before = ""  # what was to be seen when keys were last sent
        language = {"LANG": "zh_CN.UTF-8", "LC_ALL": "", "LC_MESSAGES": "", "TRAIN_TO_OLLAMA_LANG": ""}
        # pyte answers no cursor position requests.
        quiet = {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "PYTHONPATH": str(ROOT), "COLUMNS": ""}
        self._child = pexpect.spawn(
            sys.executable,
            list(arguments),
            dimensions=(rows, columns),
            env={**os.environ, **language, **quiet, **(environment or {})},
            cwd=str(cwd),
            encoding="utf-8",
            timeout=30,
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
    def screen(self) -> str:
        """What stands on the screen now."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    @property
    def everything(self) -> str:
        """What stands on the screen and what has scrolled off it."""
        columns = range(self._screen.columns)
        gone = ["".join(row[i].data for i in columns).rstrip() for row in self._screen.history.top]
        return "\n".join([*gone, self.screen])

    def _read(self, seconds: float) -> bool:
        try:
            # pyte stops drawing at a variation selector.
            self._stream.feed(self._child.read_nonblocking(65536, seconds).replace("\ufe0f", ""))
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        return True

    def wait_for(self, text: str, seconds: float = 300, *, unless: str = "") -> Terminal:
        """Read until `text` is seen, on the screen or scrolled off it, more often than when keys were last sent.

        What stood there before is no answer to the keys; and a quick program's last lines can all come in one reading,
        more than the screen holds. Where `unless` is seen in its place nobody has to wait any longer.
        """
        end = time.monotonic() + seconds
        while not self._is_new(text):
            if self._is_new(unless) or time.monotonic() > end or not self._read(0.1):
                raise AssertionError(f"{text!r} never came; the screen:\n{self.everything}")
        return self

    def _is_new(self, text: str) -> bool:
        return bool(text) and self.everything.count(text) > self._before.count(text)

    def send(self, *keys: str) -> Terminal:
        """Press keys, one after the other as a person does."""
        self._before = self.everything
        for key in keys:
            self._child.send(key)
            end = time.monotonic() + 0.15
            while time.monotonic() < end and self._read(0.05):
                pass
        return self

    def finish(self, seconds: float = 300) -> int:
        """Read to the end and return the exit code (negative: the signal)."""
        end = time.monotonic() + seconds
        while self._read(0.2):
            if time.monotonic() > end:
                raise AssertionError(f"it never ended; the screen:\n{self.everything}")
        self._child.wait()
        return -self._child.signalstatus if self._child.signalstatus else int(self._child.exitstatus or 0)
