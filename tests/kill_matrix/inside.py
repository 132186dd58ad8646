"""In the program's own processes: tells each point where it is reached, and strikes at one of them.

`tests.kill_matrix.inside JSON` is a watcher's text (tests/support/watchers.py). Points are seen by Python's audit
events; the one file that they don't show, which safetensors writes by itself, is told by hand.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import re
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lora_trainer.events import Event, Listener
from tests.kill_matrix.points import Point, Strike, without_chance
from tests.support.preloaded_export import WATCHER

PATIENCE = 3.0
"""Seconds after which somebody presses Ctrl-C where the program would wait for a silent Ollama for ever."""
SILENCE = 0.5
"""Seconds that every other time-out lasts where Ollama is silent."""

REQUEST = re.compile(rb"([A-Z]+) (/\S*) HTTP/1\.1\r\n")
CHANGES = {"os.mkdir": ("create", 2), "os.rename": ("rename", 2), "os.remove": ("delete", 1), "os.rmdir": ("delete", 1)}
"""Audit event -> how a point calls it, and which argument is the folder that the path starts from (-1: none)."""


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
    answers: str = ""
    """What somebody wants who answers its questions: "decline" or "wait"; empty where nobody is there."""
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
        orders.program = orders.program or os.getpid()
        os.environ[WATCHER] = orders.words()
        asked = orders.strike
        self.strike = Strike(asked["kind"], Point(**asked["point"]), asked["how"]) if asked else None
        self.trace = os.open(orders.trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.looks_away = False
        self.request: Point | None = None
        self.ctrl_c: threading.Timer | None = None
        self.watch_answers()
        self.watch_time_outs()
        self.watch_safetensors()
        if orders.answers:
            self.answer()
        sys.addaudithook(self.audit)

    def tell(self, **line: Any) -> None:
        """A line of the trace."""
        os.write(self.trace, (json.dumps(line) + "\n").encode())

    def listen(self, event: Event) -> None:
        """Tell an event by its kind and first value."""
        first = next(iter(fields(event)), None)
        self.tell(event=type(event).__name__, value=getattr(event, first.name) if first else None)

    def reach(self, what: str) -> Point:
        """Tell the point that is reached now, and strike where nothing of it is to happen."""
        self.seen[what] += 1
        point = Point(what, self.seen[what])
        self.tell(point=asdict(point))
        if self.is_struck(point, "kill", "before"):
            self.kill()
        if self.is_struck(point, "disk"):
            Path(self.orders.full).touch()
        return point

    def is_struck(self, point: Point, kind: str, how: str | None = None) -> bool:
        """Is this what is to happen, and where?"""
        found = self.strike
        return found is not None and (found.kind, found.point) == (kind, point) and how in (None, found.how)

    def kill(self) -> None:
        """The program is gone; a process that it has started goes on for as long as it can."""
        os.kill(self.orders.program, signal.SIGKILL)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Hear of what is about to happen; an exception keeps it from happening."""
        if self.looks_away:
            return
        self.looks_away = True
        try:
            if event == "open":
                path, _, flags = arguments
                if flags & (os.O_CREAT | os.O_TRUNC):
                    self.change("write", path, flags=flags)
                elif flags & (os.O_WRONLY | os.O_RDWR):
                    self.change("update", path)
            elif event in CHANGES:
                what, folder = CHANGES[event]
                self.change(what, arguments[0], arguments[folder])
            elif event == "http.client.send":
                connection, data = arguments
                found = REQUEST.match(data) if isinstance(data, bytes) else None
                if found and connection.port == self.orders.port:
                    self.ask(f"{found[1].decode()} {without_chance(found[2].decode())}")
        finally:
            self.looks_away = False

    def change(self, what: str, path: Any, folder: int = -1, flags: int = 0) -> None:
        """A file of the program's is about to change. Raises OSError where the disk is full."""
        if isinstance(path, int):
            return
        place = Path(os.fsdecode(path))
        if folder >= 0:
            with suppress(OSError):  # only Linux tells
                place = Path(f"/proc/self/fd/{folder}").readlink() / place
        place = Path.cwd() / place
        # a folder that is there already; a temporary file without a name, which is opened as its folder
        nothing = place.exists() if what == "create" else what in ("write", "update") and place.is_dir()
        if nothing or not place.is_relative_to(self.orders.folder):
            return
        point = self.reach(f"{what} {without_chance(place.relative_to(self.orders.folder).as_posix())}")
        full = point.fills_the_disk and Path(self.orders.full).exists()
        killed = self.is_struck(point, "kill", "after")
        try:
            if flags and (full or killed):
                # there is room for a name, and none for its content
                os.close(os.open(place, flags, 0o666))
        except OSError:
            full = False  # as the program's own attempt is about to fail
        if killed:
            self.kill()
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))

    def ask(self, what: str) -> None:
        """A request to Ollama is about to be sent."""
        self.request = self.reach(what)
        if self.is_struck(self.request, "server", "silence"):
            self.ctrl_c = threading.Timer(PATIENCE, os.kill, (os.getpid(), signal.SIGINT))
            self.ctrl_c.start()

    def answer(self) -> None:
        """Be somebody at a terminal: goes on with what there is, starts what is planned, and decides as is wanted."""
        from wizard import browse, prompts

        def select(_: str, rows: Sequence[Any], **__: Any) -> Any:
            values = [row.value if isinstance(row, prompts.Row) else row[0] for row in rows]
            if self.orders.answers == "wait" and "decline" in values:
                raise prompts.Back
            return next(value for value in ("go on", "start", "decline") if value in values)

        prompts.can_ask = lambda: True
        prompts.select = select
        prompts.text = lambda *_, **__: ""
        browse.leaf = lambda *_, **__: ("enter", 0)

    def watch_answers(self) -> None:
        """Strike where an answer has begun to come in."""
        begin = http.client.HTTPResponse.begin

        def begin_watched(response: http.client.HTTPResponse) -> None:
            try:
                begin(response)
            finally:
                request, self.request = self.request, None
                if self.ctrl_c:
                    self.ctrl_c.cancel()
                    self.ctrl_c = None
            if request and self.is_struck(request, "kill", "after"):
                self.kill()

        http.client.HTTPResponse.begin = begin_watched  # type: ignore[method-assign]

    def watch_time_outs(self) -> None:
        """Let nobody wait long for a silent Ollama."""
        settimeout = socket.socket.settimeout

        def set_short(connection: socket.socket, seconds: float | None) -> None:
            settimeout(connection, min(seconds, SILENCE) if self.ctrl_c and seconds is not None else seconds)

        socket.socket.settimeout = set_short  # type: ignore[method-assign]

    def watch_safetensors(self) -> None:
        """Tell of the files that it writes, and let it fail in its own words."""
        import safetensors.torch

        serialize = safetensors.torch.serialize_file

        def serialize_watched(tensors: Any, path: Any, *more: Any, **options: Any) -> None:
            try:
                self.change("write", path, flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            except OSError as error:
                reason = f"Error while serializing: I/O error: {error.strerror} (os error {error.errno})"
                raise safetensors.SafetensorError(reason) from error
            serialize(tensors, path, *more, **options)

        safetensors.torch.serialize_file = serialize_watched
