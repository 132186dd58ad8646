"""In the program's own processes: tells each point where it is reached, and strikes at one of them.

`tests.kill_matrix.inside JSON` is a watcher's text (tests/support/watchers.py). Points are seen by Python's audit
events; what the interpreter doesn't see, the file that safetensors writes by itself, is told by hand.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import re
import signal
import socket
import threading
from collections import Counter
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lora_trainer.events import Event, Listener
from tests.kill_matrix.points import Point, Strike, without_chance
from tests.support.preloaded_export import WATCHER

PATIENCE = 3.0
"""Seconds after which somebody presses Ctrl-C where the program waits for a silent Ollama for ever."""
SILENCE = 0.5
"""Seconds that a time-out lasts where Ollama is silent."""

REQUEST = re.compile(rb"([A-Z]+) (/\S*) HTTP/1\.1\r\n")
CHANGES = {"os.rename": "rename", "os.remove": "delete", "os.rmdir": "delete", "os.mkdir": "create"}


@dataclass
class Orders:
    """What the watching processes of a run have to know."""

    trace: str
    """The file that the points and events go to, one JSON object a line."""
    folder: str
    """The files below it are the program's."""
    port: int
    """Where Ollama listens."""
    full: str
    """A file that is there when the disk is full."""
    strike: dict[str, Any] | None = None
    program: int = 0
    """Process id of the program, for the processes that it starts."""

    def words(self) -> str:
        """As a watcher's text."""
        return f"tests.kill_matrix.inside {json.dumps(asdict(self))}"


def watcher(text: str) -> Listener:
    """Watch this process from now on; its listener tells the events, too."""
    return Watch(Orders(**json.loads(text))).listen


class Watch:
    """The points of one process."""

    def __init__(self, orders: Orders) -> None:
        self.orders, self.seen = orders, Counter[str]()
        self.is_worker = bool(orders.program)
        orders.program = orders.program or os.getpid()
        os.environ[WATCHER] = orders.words()
        asked = orders.strike
        self.strike = Strike(asked["kind"], Point(**asked["point"]), asked["how"]) if asked else None
        self.file = os.open(orders.trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.own = False
        self.silent: threading.Timer | None = None
        self.request: Point | None = None
        self.watch_answers()
        self.watch_safetensors()
        import sys

        sys.addaudithook(self.audit)

    def tell(self, **line: Any) -> None:
        os.write(self.file, (json.dumps(line) + "\n").encode())

    def listen(self, event: Event) -> None:
        """Tell an event by its kind and first value."""
        first = next(iter(fields(event)), None)
        self.tell(event=type(event).__name__, value=getattr(event, first.name) if first else None)

    def reach(self, what: str, path: str = "", flags: int = 0) -> Point:
        """The point that is reached now; kills, or raises where the disk is full."""
        self.seen[what] += 1
        point = Point(what, self.seen[what])
        self.tell(point=asdict(point))
        struck = self.strike is not None and self.strike.point == point
        if struck and self.strike.kind == "disk":
            os.close(os.open(self.orders.full, os.O_WRONLY | os.O_CREAT))
        if point.fills_the_disk and Path(self.orders.full).exists():
            if flags:
                os.close(os.open(path, flags, 0o666))  # room for a name is there, for its content isn't
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if struck and self.strike.kind == "kill":
            if self.strike.how == "after" and not point.is_request and flags:
                os.close(os.open(path, flags, 0o666))
            if self.strike.how == "before" or not point.is_request:
                self.kill()
        return point

    def kill(self) -> None:
        os.kill(self.orders.program, signal.SIGKILL)

    # What is seen.

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.own:
            return
        if event == "open":
            path, _, flags = arguments
            if flags & (os.O_CREAT | os.O_TRUNC):
                self.changed("write", path, flags=flags)
            elif flags & (os.O_WRONLY | os.O_RDWR):
                self.changed("update", path)
        elif event in CHANGES:
            where = arguments[-1] if isinstance(arguments[-1], int) and event != "os.rename" else -1
            self.changed(CHANGES[event], arguments[0], where)
        elif event == "http.client.send" and not self.is_worker:
            connection, data = arguments
            found = REQUEST.match(data) if isinstance(data, bytes | bytearray) else None
            if found and connection.port == self.orders.port:
                self.asked(f"{found[1].decode()} {without_chance(found[2].decode())}")

    def changed(self, what: str, path: Any, where: int = -1, flags: int = 0) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        text = os.fsdecode(path)
        if where >= 0 and not os.path.isabs(text):
            text = os.path.join(os.readlink(f"/proc/self/fd/{where}"), text)
        text = os.path.abspath(text)
        # a temporary file without a name is opened as its folder
        if not text.startswith(self.orders.folder + os.sep) or (what in ("write", "update") and os.path.isdir(text)):
            return
        self.own = True
        try:
            name = without_chance(os.path.relpath(text, self.orders.folder))
            self.reach(f"{what} {name}", text, flags)
        finally:
            self.own = False

    def asked(self, what: str) -> None:
        self.request = self.reach(what)
        if self.strike and self.strike.point == self.request and self.strike.how == "silence":
            self.silent = threading.Timer(PATIENCE, os.kill, (os.getpid(), signal.SIGINT))
            self.silent.start()

    def watch_answers(self) -> None:
        begin, settimeout, watch = http.client.HTTPResponse.begin, socket.socket.settimeout, self

        def answered(response: http.client.HTTPResponse) -> None:
            try:
                begin(response)
            finally:
                request, watch.request = watch.request, None
                if watch.silent:
                    watch.silent.cancel()
                    watch.silent = None
            struck = watch.strike is not None and request is not None and watch.strike.point == request
            if struck and watch.strike.kind == "kill":
                watch.kill()

        def set_time_out(connection: socket.socket, seconds: float | None) -> None:
            settimeout(connection, min(seconds, SILENCE) if watch.silent and seconds is not None else seconds)

        http.client.HTTPResponse.begin = answered  # type: ignore[method-assign]
        socket.socket.settimeout = set_time_out  # type: ignore[method-assign]

    def watch_safetensors(self) -> None:
        import safetensors.torch

        serialize = safetensors.torch.serialize_file

        def told(tensors: Any, path: Any, *more: Any, **options: Any) -> None:
            try:
                self.changed("write", path, flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            except OSError as error:
                # its own words
                raise safetensors.SafetensorError(f"Error while serializing: I/O error: {error.strerror} (os error {error.errno})") from error  # fmt: skip
            serialize(tensors, path, *more, **options)

        safetensors.torch.serialize_file = told
