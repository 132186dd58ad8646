"""Ctrl-C and SIGTERM: who takes them, and what of them can be known at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stop:
    """Ctrl-C and SIGTERM: in a training the first one asks it to stop by itself, all others abort at once."""

    def __init__(self) -> None:
        self.requested = False
        self.training: Callable[[], bool] = lambda: False
        self._came = False
        self._read = self._write = -1

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self.requested

    def handle(self, number: int, frame: object) -> None:  # noqa: ARG002
        """Take a signal."""
        first, self.requested = not self.requested, True
        if not (first and self.training()):
            raise KeyboardInterrupt

    def listen(self) -> None:
        """Take the signals from now on."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle)

    def attend(self) -> None:
        """Let `was_heard` hear of signals from now on; a question asked since the last call has taken that away."""
        if os.name == "nt" or threading.current_thread() is not threading.main_thread():
            return
        if self._read < 0:
            self._read, self._write = os.pipe()
            for end in (self._read, self._write):
                os.set_blocking(end, False)
        self._arrived()  # what came before was taken then
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def was_heard(self) -> bool:
        """Whether a signal has come, perhaps one that the main thread, busy outside of Python, hasn't taken yet.

        One that somebody else takes meanwhile is no wish to stop.
        """
        if self._read >= 0 and not self.requested:
            came = self._arrived() and signal.getsignal(signal.SIGINT) == self.handle
            self._came = self._came or came
        return self.requested or self._came

    def _arrived(self) -> bool:
        try:
            return bool({signal.SIGINT, signal.SIGTERM} & set(os.read(self._read, 64)))
        except BlockingIOError:
            return False


@contextmanager
def ending_only_what_goes_on() -> Iterator[None]:
    """Ctrl-C ends what is going on, however often: it is no wish to end the program."""

    def leave(*_: object) -> None:
        sys.exit(128 + signal.SIGTERM)

    before = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
