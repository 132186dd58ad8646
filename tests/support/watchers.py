"""Listeners that bring a process to a stand, or to its end, at a chosen moment of its work.

What a test does to a process at a certain moment must not depend on which of the two is quicker: the process waits for
the test there, or strikes itself. `python -m tests.support.watchers WATCHER FLAGS...` is train_to_ollama.py so watched.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import cast

import psutil

from lora_trainer.events import Event, Listener, StepDone, ignore


class Hold:
    """At the first event of a kind whose first value is `value` (any where empty): `gate` comes to be, and the work
    waits until it is gone.
    """

    def __init__(self, kind: str, value: str, gate: Path) -> None:
        self.kind, self.value, self.gate, self.held = kind, value, gate, False

    def __call__(self, event: Event) -> None:
        values = [str(getattr(event, field.name)) for field in dataclasses.fields(event)]
        if self.held or type(event).__name__ != self.kind or self.value not in ("", values[0]):
            return
        self.held = True
        self.gate.touch()
        while self.gate.exists():
            time.sleep(0.01)


class Interrupt:
    """At the first event of a kind whose first value is `value` (any where empty): Ctrl-C, `times` times."""

    def __init__(self, kind: str, value: str, times: int) -> None:
        self.kind, self.value, self.times = kind, value, times

    def __call__(self, event: Event) -> None:
        values = [str(getattr(event, field.name)) for field in dataclasses.fields(event)]
        if type(event).__name__ == self.kind and self.value in ("", values[0]):
            while self.times > 0:
                self.times -= 1
                signal.raise_signal(signal.SIGINT)


class Kill:
    """Kills its own process some seconds after a step, whatever it does then, but before the next but one is done."""

    def __init__(self, step: int, seconds: float) -> None:
        self.step, self.seconds = step, seconds
        self.timer: threading.Timer | None = None

    def __call__(self, event: Event) -> None:
        if not isinstance(event, StepDone) or event.step < self.step:
            return
        if event.step >= self.step + 2:
            psutil.Process().kill()
        elif self.timer is None:
            self.timer = threading.Timer(self.seconds, psutil.Process().kill)
            self.timer.start()


def watcher(text: str) -> Listener:
    """`hold KIND:VALUE GATE`, `stop KIND:VALUE TIMES`, `kill STEP SECONDS` or `MODULE WORDS`, which is what that
    module's own `watcher` makes of the words; where there are several processes, in the first one alone.
    """
    if not text or os.environ.get("RANK", "0") != "0":
        return ignore
    what, rest = text.split(maxsplit=1)
    if "." in what:
        return cast(Listener, importlib.import_module(what).watcher(rest))
    first, second = rest.split(maxsplit=1)
    if what == "kill":
        return Kill(int(first), float(second))
    kind, _, value = first.partition(":")
    if what == "stop":
        return Interrupt(kind, value, int(second))
    return Hold(kind, value, Path(second))


def watched(text: str, words: list[str]) -> int:
    """The real program's exit code; the watcher hears what the screen has shown."""
    import train_to_ollama
    from wizard.screen.screen import Screen

    watch, show = watcher(text), Screen.listen

    def listen(self: Screen, event: Event) -> None:
        show(self, event)
        watch(event)

    Screen.listen = listen  # type: ignore[method-assign]
    return train_to_ollama.main(words)


if __name__ == "__main__":
    sys.exit(watched(sys.argv[1], sys.argv[2:]))
