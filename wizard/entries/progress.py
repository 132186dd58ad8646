"""A stage of the installation as one line: on a terminal it moves, elsewhere it is written once it is known."""

from __future__ import annotations

import os
import sys
import time

from wizard.entries.pip import Run
from wizard.screen import output
from wizard.screen.layout import cells, cut, terminal_width
from wizard.screen.training import amount, duration, size
from wizard.words import t

BAR, SHORT_BAR, WIDE = 20, 8, 72
"""Columns of the bar, and of a terminal that has room for the longer one and the package's name."""
NAME = 14
"""Columns of a stage's name."""
STEP_SECONDS = 0.25
"""How often the line moves."""


class Line:
    """One of `count` stages; `name` says what it brings."""

    def __init__(self, number: int, count: int, name: str) -> None:
        self._head = f"   [{number}/{count}] {name}" + " " * max(1, NAME - cells(name))
        self._moves = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._began = time.monotonic()
        self._drawn, self._wide = 0.0, 0
        if self._moves:
            self._draw(self._head)
        else:
            output.write(self._head, sys.stderr)

    def move(self, run: Run) -> None:
        """Show how far pip is."""
        now = time.monotonic()
        if not self._moves or now - self._drawn < STEP_SECONDS:
            return
        self._drawn = now
        time_taken = duration(now - self._began)
        if run.unpacks:
            parts = [t("entries.stage.unpacks"), size(run.size) if run.size else ""]
        elif not run.files:
            parts = [t("entries.stage.looks", count=run.collected) if run.collected else ""]
        else:
            loaded, wide = run.loaded, terminal_width() >= WIDE
            bar = _bar(loaded, run, BAR if wide else SHORT_BAR)
            parts = [bar, run.current if wide else "", amount("download", loaded, run.size)]
        self._draw(self._head + "  ".join([*filter(None, parts), time_taken]))

    def pause(self) -> None:
        """Make room for a question: what comes next begins on a line of its own."""
        if self._moves:
            self._draw("")
            output.write("\r", sys.stderr)

    def end(self, mark: str, *told: str) -> None:
        """How it came out."""
        parts = [*filter(None, told), duration(time.monotonic() - self._began), mark]
        if self._moves:
            self._draw(self._head + "  ".join(parts))
            output.write("\n", sys.stderr)
        else:
            output.write("  ".join(parts) + "\n", sys.stderr)

    def _draw(self, text: str) -> None:
        text = cut(text, terminal_width() - 1)
        # nothing is left of what stood there; Windows' consoles may know no other way
        output.write("\r" + text + " " * (self._wide - cells(text)), sys.stderr)
        self._wide = cells(text)


def _bar(loaded: int, run: Run, columns: int) -> str:
    """Of the packages that are wanted, or where there is one alone of its bytes."""
    whole = run.collected or run.files
    part = loaded / run.size if whole <= 1 and run.size else min(1.0, run.files / whole)
    full = round(part * columns)
    filled, empty = ("━", "─") if output.shows("━─", sys.stderr) else ("#", "-")
    return filled * full + empty * (columns - full)
