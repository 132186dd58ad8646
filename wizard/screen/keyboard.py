"""The keyboard while something moves: what is typed is not shown in the middle of the picture, and answers nothing."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

_LEAVING = ("SIGTSTP", "SIGHUP", "SIGQUIT")
"""Ctrl-Z, the terminal's end and Ctrl-\\: whoever has the terminal then, shall find it as it was."""


class Keyboard:
    """Hushes the terminal on stdin and restores it, whatever ends the program but a SIGKILL.

    `leave` and `return_` are called around a stop by Ctrl-Z.
    """

    def __init__(self, leave: Callable[[], None] = lambda: None, return_: Callable[[], None] = lambda: None) -> None:
        self._leave, self._return = leave, return_
        self._mode: list[Any] | None = None
        self._handlers: dict[int, Any] = {}

    def hush(self) -> None:
        """Show no typed keys from now on; Ctrl-C and Ctrl-Z keep their meaning."""
        if self._mode is not None or not _is_ours():
            return
        import termios

        self._mode = termios.tcgetattr(sys.stdin)
        atexit.register(self.restore)
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in _LEAVING):
                self._handlers[number] = signal.signal(number, self._step_back)
        self._silence()

    def restore(self) -> None:
        """The terminal as it was; what was typed meanwhile is forgotten, so that it is no answer to a question."""
        mode, self._mode = self._mode, None
        atexit.unregister(self.restore)
        if mode is not None:
            _set(mode, forget=True)
        if threading.current_thread() is threading.main_thread():
            while self._handlers:
                signal.signal(*self._handlers.popitem())
        if os.name == "nt":
            _forget_on_windows()

    def _silence(self) -> None:
        import termios

        assert self._mode is not None
        quiet = [*self._mode]
        quiet[3] &= ~(termios.ECHO | termios.ECHONL)
        _set(quiet)

    def _step_back(self, number: int, _: object) -> None:
        """Let a signal do what it does without us, the terminal being as it was; come back where it has only paused."""
        if self._mode is None:
            return
        self._leave()
        _set(self._mode)
        mine = signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
        signal.signal(number, mine)
        if _is_ours():
            self._silence()
            self._return()


def _is_ours() -> bool:
    """Whether stdin is a terminal that this process may change: one in the background would be stopped for it."""
    if os.name == "nt":
        return False
    try:
        return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (AttributeError, OSError, ValueError):
        return False


def _set(mode: list[Any], *, forget: bool = False) -> None:
    import termios

    try:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, mode)
        if forget:
            termios.tcflush(sys.stdin, termios.TCIFLUSH)
    except (termios.error, ValueError):
        return  # the terminal is gone


def _forget_on_windows() -> None:
    import msvcrt

    while msvcrt.kbhit():  # type: ignore[attr-defined, unused-ignore]
        msvcrt.getwch()  # type: ignore[attr-defined, unused-ignore]
