"""The stand-in as an object: `with OllamaServer(folder) as server: ... server.url`."""

from __future__ import annotations

import os
import socket
import sys
import threading
from contextlib import suppress
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .answer import Answers
from .conversion import is_legacy
from .faults import Faults
from .go_template import GoRenderer
from .releases import OLDEST, RELEASES
from .runner import Runners
from .store import Store
from .wire import Handler


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    # Many requests at once, as a client with retries makes them.
    request_queue_size = 64
    owner: OllamaServer

    def break_connections(self) -> None:
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def __init__(self, *arguments: Any) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(*arguments)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no event; anything else is a fault of the stand-in's own."""
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handle_error(request, client_address)
            self.owner.crashes.append(repr(error))


class OllamaServer:
    """A real HTTP server on a port of its own; the models lie in `models` and outlive it.

    `old` makes it an Ollama without `_debug_render_only` and log-probabilities, `version` is what /api/version says,
    `release` (a name of RELEASES) the line of releases that it behaves like. `faults` brings misfortune. `requests`
    lists (method, path) of all that came in. `legacy` says which GGUFs one that converts takes for those in an older
    layout, `conversion_takes` how many answers a model gives meanwhile (0: its first load waits), `mlx` which models
    (short names) have a child for Apple's runner beside their GGUF, as pulled ones may.
    After a death (`alive` is False) `start()` brings the server back on the same port, with the same models.
    """

    def __init__(
        self,
        models: Path,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        old: bool = False,
        version: str = "0.0.0",
        release: str = OLDEST.name,
    ) -> None:
        self.models, self.host, self.port, self.version, self.old = models, host, port, version, old
        self.release = RELEASES[release]
        self.legacy = is_legacy
        self.conversion_takes = 0
        self.mlx: set[str] = set()
        self.faults = Faults()
        self.requests: list[tuple[str, str]] = []
        self.crashes: list[str] = []
        self.dies_with_process = False
        self._listener: Listener | None = None
        self.runners: Any = None
        self.go: Any = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def alive(self) -> bool:
        return self._listener is not None

    def serves(self, listener: object) -> bool:
        """False for what is left of a server that died."""
        return listener is self._listener

    def start(self) -> OllamaServer:
        self._release()
        self.store = Store(self.models)
        self.go = GoRenderer()
        self.runners = Runners()
        self.answers = Answers(
            self.store,
            self.go,
            self.runners,
            self.old,
            self.release,
            legacy=lambda gguf: self.legacy(gguf),
            takes=lambda: self.conversion_takes,
        )
        self._listener = Listener((self.host, self.port), Handler)
        self._listener.owner = self
        self.port = self._listener.server_address[1]
        threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def die(self) -> None:
        """Abruptly, as if killed: connections break, nothing is tidied up."""
        if self.dies_with_process:
            os._exit(137)
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown()
            listener.server_close()
            listener.break_connections()

    def stop(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown()
            listener.server_close()
            listener.break_connections()
        self._release()

    def _release(self) -> None:
        if self.runners is not None:
            self.runners.close()
        if self.go is not None:
            self.go.close()
        self.runners = self.go = None

    def __enter__(self) -> OllamaServer:
        return self.start()

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop()
        if self.crashes and kind is None:
            raise RuntimeError(f"the stand-in crashed: {self.crashes}")
