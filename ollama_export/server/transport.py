"""HTTP to one Ollama server: requests, streams of JSON lines, and every way in which they fail, as errors that a user
can act on. Error shapes are those of Ollama's server/routes.go and server/create.go, version 0.33.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError

from lora_trainer import proxies
from lora_trainer.errors import OllamaError, ResourceError
from ollama_export.server.host import parse_host, without_login

CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
# Loading, quantizing and generating take as long as they take; TCP keepalive notices a server that is gone.
PATIENT = (CONNECT_SECONDS, None)
_CHUNK = 1 << 20
_DISK_FULL = ("no space left", "not enough space on the disk", "disk quota exceeded")
_MEMORY_FULL = ("requires more system memory", "out of memory")
_API_PATH = re.compile(r"(.*?)/?((?:v1|api)(?:/.*)?)")
"""A prefix that ends in a path of Ollama's own, as it is copied from an example of its API or of OpenAI's."""


class Refused(OllamaError):
    """Ollama is alive and answered with an error; `status` is the HTTP status (200: a line inside a stream)."""

    def __init__(self, key: str, /, status: int, **values: Any) -> None:
        super().__init__(key, status=status, **values)
        self.status = status


class Transport:
    """One server: `host` written like OLLAMA_HOST, by default what that variable says."""

    def __init__(self, host: str | None = None) -> None:
        self.given = os.environ.get("OLLAMA_HOST", "") if host is None else host
        self._parsed = parse_host(self.given)
        self.host = self._parsed.url
        self.is_local = self._parsed.is_here
        self._session = requests.Session()
        # Python's HTTP libraries, unlike Go's, would ask the environment's proxy even for a server next door.
        self._session.trust_env = not self._parsed.is_near
        self._session.auth = self._parsed.login
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _KeepAlive())

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        data: Any = None,
        timeout: tuple[float | None, float | None] = (CONNECT_SECONDS, READ_SECONDS),
        stream: bool = False,
        missing_ok: bool = False,
    ) -> requests.Response:
        """One request; its response has a status below 300, or 404 where that is `missing_ok`.

        `timeout`: seconds for the connecting, and for the sending of each piece; seconds without a byte of the answer;
        None for ever. Raises OllamaError where nobody answers or no URL can hold the host, ResourceError or Refused for
        an error that the server reports.
        """
        values: dict[str, Any] = {"host": self.host, "call": f"{method} {path.partition('sha256')[0]}"}
        try:
            response = self._session.request(
                method, self.host + path, json=body, data=data, timeout=timeout, stream=stream, allow_redirects=False
            )
        except requests.exceptions.ReadTimeout as error:
            raise OllamaError("error.ollama.no_answer", seconds=timeout[1], **values) from error
        except requests.exceptions.ConnectionError as error:
            cause: Any = getattr(error.args[0], "reason", error.args[0]) if error.args else error
            for part in getattr(cause, "args", ()):
                if isinstance(part, OSError) and part.filename:
                    raise part from None  # the file that was to be sent
            raise self._broken(error, cause, values["call"]) from error
        except requests.exceptions.ChunkedEncodingError as error:
            raise OllamaError("error.ollama.connection_lost", reason=str(error), **values) from error
        except (requests.exceptions.RequestException, ValueError) as error:
            proxy = proxies.proxy_of(self.host) if self._session.trust_env else None
            if found := proxies.unusable([proxy], proxies.REQUESTS, self.host):
                raise OllamaError(found[0], **found[1]) from error
            raise OllamaError(
                "error.ollama.host_invalid", given=without_login(self.given), reason=str(error)
            ) from error
        if response.status_code < 300 or (response.status_code == 404 and missing_ok):
            return response
        try:
            message = str(response.json()["error"])
        except (ValueError, KeyError, TypeError):
            raise self._not_its_own(response, values["call"]) from None
        raise self.refusal(values["call"], response.status_code, message, body)

    def _broken(self, error: requests.exceptions.ConnectionError, cause: Any, call: str) -> OllamaError:
        """What a connection means that never came about, or broke."""
        values = {"host": self.host, "call": call, "reason": str(cause)}
        if isinstance(error, requests.exceptions.SSLError):
            return OllamaError("error.ollama.tls", **values)
        known = (requests.exceptions.ConnectTimeout, requests.exceptions.ProxyError)
        if not isinstance(error, known) and not isinstance(cause, NewConnectionError):
            return OllamaError("error.ollama.connection_lost", **values)
        if self._session.trust_env and (found := proxies.in_between(self.host, str(cause))):
            return OllamaError(found[0], **found[1])
        if isinstance(cause, NameResolutionError) and ":" not in self._parsed.name:
            return OllamaError("error.ollama.unknown_name", name=self._parsed.name, **values)
        return OllamaError("error.ollama.unreachable", **values)

    def _not_its_own(self, response: requests.Response, call: str) -> OllamaError | ResourceError:
        """What an error status means that comes without Ollama's JSON: nearly always somebody else's."""
        status, text = response.status_code, _plain(response)
        if status == 404 and response.request.method != "HEAD":
            if path := _API_PATH.fullmatch(self._parsed.prefix.strip("/")):
                plain = replace(self._parsed, prefix=path[1]).url
                given = without_login(self.given)
                return OllamaError("error.ollama.host_path", given=given, path="/" + path[2], plain=plain)
            return OllamaError("error.ollama.not_ollama", host=self.host)
        if 300 <= status < 400 and "Location" in response.headers:
            location = response.headers["Location"]
            return OllamaError("error.ollama.redirected", location=location, host=self.host, call=call)
        if status < 400 or status == 405 or not text:
            return self.refusal(call, status, text)
        who = response.headers.get("Server") or "?"
        values: dict[str, Any] = {"message": text, "host": self.host, "call": call, "who": who, "status": status}
        # what a proxy means by it (RFC 9110; 524 is Cloudflare's)
        if status in (401, 407):
            return Refused("error.ollama.in_between.login", **values)
        if status == 413:
            return Refused("error.ollama.in_between.size", **values)
        if status in (502, 503):
            return Refused("error.ollama.in_between.down", **values)
        if status in (504, 524):
            return Refused("error.ollama.in_between.time", **values)
        return Refused("error.ollama.in_between", **values)

    def json(self, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
        """The JSON object that answers a request.

        Raises as `call` does, also for an error in an answer that says 200, and OllamaError where it is no such object.
        """
        response = self.call(method, path, body, **more)
        try:
            value = response.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise OllamaError("error.ollama.not_ollama", host=self.host)
        if "error" in value:
            raise self.refusal(f"{method} {path}", response.status_code, str(value["error"]), body)
        return value

    def lines(self, method: str, path: str, body: Any) -> Generator[dict[str, Any], None, None]:
        """The JSON objects of a streamed answer as they come, up to the end of the stream.

        An error line raises as an error status would: Ollama has sent its 200 by then. Raises OllamaError where the
        connection breaks, or a line is no JSON object.
        """
        response = self.call(method, path, body, timeout=PATIENT, stream=True)
        call = f"{method} {path}"
        try:
            for line in filter(bytes.strip, response.iter_lines()):
                value = json.loads(line)
                if not isinstance(value, dict):
                    raise ValueError(line)
                if "error" in value:
                    raise self.refusal(call, 200, str(value["error"]), body)
                yield value
        except requests.exceptions.RequestException as error:
            reason = str(error)
            raise OllamaError("error.ollama.connection_lost", host=self.host, call=call, reason=reason) from error
        except ValueError as error:
            raise OllamaError("error.ollama.not_ollama", host=self.host) from error
        finally:
            response.close()

    def refusal(self, call: str, status: int, message: str, body: Any = None) -> OllamaError | ResourceError:
        """The error that a status and a message of Ollama's mean."""
        low = message.lower()
        values = {"host": self.host, "call": call, "message": message}
        if any(sign in low for sign in _DISK_FULL):
            return ResourceError("error.ollama.disk_full", **values)
        if any(sign in low for sign in _MEMORY_FULL):
            return ResourceError("error.ollama.memory", **values)
        name = next((body[key] for key in ("model", "source") if key in body), None) if isinstance(body, dict) else None
        if status == 404 and name and "not found" in low:
            return Refused("error.ollama.model_missing", status=status, name=name, **values)
        if status == 403 and not message:
            return Refused("error.ollama.forbidden", status=status, **values)
        return Refused("error.ollama.busy" if status == 503 else "error.ollama.refused", status=status, **values)


def _plain(response: requests.Response) -> str:
    """What a page says, in one line: its title, or its text."""
    text = response.text
    if "<" in text and "html" in f"{response.headers.get('Content-Type', '')} {text[:200]}".lower():
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.DOTALL | re.IGNORECASE)
        text = unescape(title[1] if title else re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL))
    return " ".join(text.split())[:200]


class Upload:
    """A file as a request body of known length that tells how many of its bytes are sent."""

    def __init__(self, path: Path, progress: Callable[[int, int], None]) -> None:
        self.path, self.progress, self.size = path, progress, path.stat().st_size

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        done = 0
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
                done += len(chunk)
                self.progress(done, self.size)


class _KeepAlive(HTTPAdapter):
    """Connections that notice within two minutes that the other machine is gone, however long a call may take."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        options = [*HTTPConnection.default_socket_options, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6)):
            if hasattr(socket, name):
                options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
        super().init_poolmanager(*args, socket_options=options, **kwargs)
