"""A look at Ollama that keeps nobody waiting: which models it has, asked without an HTTP library.

What can't be asked in one plain exchange (TLS, a server behind a proxy) is left to the client, which takes longer to
load than all of this.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time

from ollama_export.server.host import Host, parse_host
from ollama_export.server.names import parse_name

SECONDS = 0.5
"""An Ollama on this machine answers within a hundredth of it; who waits for a menu notices more."""


class Glance:
    """Asks from the moment it is made, while others work; `models` waits for what is left of `seconds`."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.host = parse_host(os.environ.get("OLLAMA_HOST"))
        self._end = time.monotonic() + seconds
        self._models: dict[str, str] | None = None
        self._timed_out = False
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def models(self) -> dict[str, str] | None:
        """Canonical name -> manifest's digest (hex) of all models; None where Ollama didn't answer (in time)."""
        self._thread.join(max(0.0, self._end - time.monotonic()))
        return self._models

    @property
    def is_late(self) -> bool:
        """Whether it may still answer: somebody is there, or the network is slow."""
        return self._timed_out or self._thread.is_alive()

    def _ask(self) -> None:
        try:
            if self.host.scheme == "http" and self.host.is_near:
                listed = json.loads(_get(self.host, "/api/tags", self._end))["models"] or []
            else:
                from ollama_export.server.client import OllamaClient

                listed = OllamaClient().tags()
            self._models = {str(parse_name(model["name"]) or model["name"]): model["digest"] for model in listed}
        except TimeoutError:
            self._timed_out = True
        except Exception:  # whatever it is that answers there: what is wrong with it, the status says
            return


def _get(host: Host, path: str, end: float) -> bytes:
    """The body of an answer that comes before `end` (time.monotonic()); raises OSError or ValueError."""
    prefix = host.prefix.strip("/")
    lines = [f"GET {'/' + prefix if prefix else ''}{path} HTTP/1.0", f"Host: {host.name}:{host.port}"]
    if host.login:
        from base64 import b64encode

        lines.append("Authorization: Basic " + b64encode(":".join(host.login).encode()).decode())
    with socket.create_connection((host.name, int(host.port)), _left(end)) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b""
        while True:
            connection.settimeout(_left(end))
            piece = connection.recv(1 << 16)
            if not piece:
                break
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.split(b" ", 2)[1:2] != [b"200"]:
        raise ValueError(head)
    return body


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
