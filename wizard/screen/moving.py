"""The moving part of a terminal, drawn by a thread of its own: it moves whatever the work is busy with."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wizard.screen.keyboard import Keyboard

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

REFRESH_SECONDS = 0.125
"""The moving part is drawn this often."""
FRAME_SECONDS = 0.125
FRAMES, PLAIN_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "-\\|/"


def frame(frames: str) -> str:
    """The spinner's character of this moment."""
    return frames[int(time.monotonic() / FRAME_SECONDS) % len(frames)]


class Moving:
    """Draws `picture()` again and again, below the lines that are printed, under the lock of those who print them.

    It is off until `start`; `stop` leaves nothing of it, and the keyboard as it was.
    """

    def __init__(self, console: Console, picture: Callable[[], RenderableType], lock: threading.RLock) -> None:
        self._console, self._picture, self._lock = console, picture, lock
        self._live: Any = None
        self._ended = threading.Event()
        self._keyboard = Keyboard(
            leave=lambda: self._show_cursor(True),
            return_=lambda: self._show_cursor(False),
        )

    @property
    def is_on(self) -> bool:
        """Whether it is drawn."""
        return self._live is not None

    def start(self) -> None:
        """Draw from now on."""
        from rich.live import Live

        self._keyboard.hush()
        atexit.register(self.stop)
        live = Live(get_renderable=self._picture, console=self._console, auto_refresh=False, transient=True)
        self._live, self._ended = live, threading.Event()
        live.start(refresh=True)
        threading.Thread(target=self._keep_drawing, args=(live, self._ended), daemon=True).start()

    def stop(self) -> None:
        """Draw no more, and take away what was drawn last."""
        live = self._live
        if live is None:
            return
        with self._lock:
            self._ended.set()
            live.stop()
            self._live = None
        atexit.unregister(self.stop)
        self._keyboard.restore()

    def _keep_drawing(self, live: Any, ended: threading.Event) -> None:
        while not ended.wait(REFRESH_SECONDS):
            with self._lock:
                if not ended.is_set():
                    live.refresh()

    def _show_cursor(self, shown: bool) -> None:
        self._console.show_cursor(shown)
