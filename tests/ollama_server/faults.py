"""Misfortunes on demand: the server dies, the disk is full, an answer takes its time or never comes."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from .errors import ApiError

KINDS = (
    "die", "die_after", "die_during", "error", "error_in_ok", "cut", "cut_during", "lost", "full", "slow", "hold",
    "raced",
)  # fmt: skip


class Death(Exception):
    """The server is to die now: no answer, and none to later requests."""


@dataclass
class Fault:
    kind: str
    """"die" (before the request is worked on), "die_after" (worked on, not answered), "die_during" (in the middle of an
    upload's body or after the first line of a stream), "error" (status 500), "error_in_ok" (an error
    in an answer that says 200), "cut" (the connection ends
    before the request is worked on), "cut_during" (in the middle of an upload's body, by a server that lives on),
    "lost" (when the request is worked on, without an answer), "full" (no space left on device), "slow" or "hold" (not
    worked on while the fault is there, and then dropped), "raced" (a delete that another one of the same name
    overtakes)."""
    path: str
    """The beginning of the request's path."""
    at: int = 1
    """The n-th matching request from now; 0 is every one."""
    method: str = ""
    seconds: float = 0.0
    seen: int = 0
    befallen: threading.Event = field(default_factory=threading.Event)
    cleared: threading.Event = field(default_factory=threading.Event)


class Faults:
    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, kind: str, path: str, at: int = 1, *, method: str = "", seconds: float = 0.0) -> Fault:
        if kind not in KINDS:
            raise ValueError(f"unknown fault: {kind}")
        fault = Fault(kind, path, at, method, seconds)
        with self._lock:
            self._faults.append(fault)
        return fault

    def parse(self, text: str) -> None:
        """`kind:path[:at[:seconds]]`, several with commas: `die:/api/copy:2,slow:/api/create:0:1.5`."""
        for part in filter(None, text.split(",")):
            kind, path, *rest = part.split(":")
            seconds = float(rest[1]) if len(rest) > 1 else 0.0
            self.add(kind, path, int(rest[0]) if rest else 1, seconds=seconds)

    def clear(self) -> None:
        with self._lock:
            for fault in self._faults:
                fault.cleared.set()
            self._faults.clear()

    def due(self, method: str, path: str) -> set[str]:
        """Counts a request; the kinds of fault that befall it. Waits, and raises Death or ConnectionError by itself."""
        found = []
        with self._lock:
            for fault in self._faults:
                if path.startswith(fault.path) and fault.method in ("", method):
                    fault.seen += 1
                    if fault.at in (0, fault.seen):
                        found.append(fault)
        for fault in found:
            fault.befallen.set()
            time.sleep(fault.seconds)
            if fault.kind == "hold":
                fault.cleared.wait()
                raise ConnectionAbortedError
        kinds = {fault.kind for fault in found}
        if "die" in kinds:
            raise Death
        if "cut" in kinds:
            raise ConnectionAbortedError
        return kinds


def disk_full(path: object) -> ApiError:
    return ApiError(f"write {path}: no space left on device", 500)
