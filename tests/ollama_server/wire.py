"""HTTP: the routes, the bodies, and how answers and streams go over the wire."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from .asked import cloud_failure
from .conversion import IsLegacy
from .create import Creation, pull_failure
from .errors import ApiError
from .faults import Death, disk_full
from .listing import running, show, tags
from .names import BadReference, Name, parse_name, parse_reference
from .openai import chat_completion
from .replies import PLAIN_JSON, STREAM, TEXT, Reply, Stream, parse_body, with_status

if TYPE_CHECKING:
    from .server import OllamaServer

CHUNK = 1 << 20
DRAINED = 256 << 10
"""Bytes of a body nobody wants that Go's server still reads; with more left it closes the connection."""


class CutShort(Exception):
    """The client went away in the middle of a body."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer in several small writes must not wait for the client's acknowledgement.
    disable_nagle_algorithm = True

    @property
    def owner(self) -> OllamaServer:
        return cast("OllamaServer", cast(Any, self.server).owner)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_DELETE = do_PUT = do_GET

    def _serve(self) -> None:
        if not self.owner.serves(self.server):
            self.close_connection = True
            return
        path = self.path.partition("?")[0]
        self.owner.requests.append((self.command, path))
        self._read = False
        try:
            self.faults = self.owner.faults.due(self.command, path)
            try:
                if "error" in self.faults:
                    raise ApiError("something went wrong", 500)
                if "error_in_ok" in self.faults:
                    raise ApiError("model runner has unexpectedly stopped", 200)
                answer = self._routed(path)
            except ApiError as error:
                answer = Reply(error.status, {"error": str(error)})
            if {"die_after", "lost"} & self.faults:
                if isinstance(answer, Stream):
                    list(answer.lines)
                raise Death if "die_after" in self.faults else ConnectionAbortedError
            if isinstance(answer, Stream):
                self._stream(answer.lines)
            else:
                self._reply(answer)
        except Death:
            self.close_connection = True
            self.owner.die()
        except (CutShort, ConnectionError):
            self.close_connection = True

    def _routed(self, path: str) -> Reply | Stream:
        if not self._host_allowed():
            return Reply(403)
        if path.startswith("/api/blobs/"):
            known = {"HEAD": self._blob_there, "POST": self._blob_upload}
            digest = path.removeprefix("/api/blobs/")
            if self.command in known:
                return known[self.command](digest)
            return Reply(405, "405 method not allowed", "text/plain")
        routes: dict[str, tuple[tuple[str, ...], Callable[[], Reply | Stream]]] = {
            "/": (("GET", "HEAD"), lambda: Reply(200, "Ollama is running", TEXT)),
            "/api/version": (("GET", "HEAD"), lambda: Reply(200, {"version": self.owner.version})),
            "/api/tags": (("GET", "HEAD"), self._tags),
            "/api/ps": (("GET",), lambda: Reply(200, running(self.owner.runners))),
            "/api/show": (("POST",), self._show),
            "/api/create": (("POST",), self._create),
            "/api/copy": (("POST",), self._copy),
            "/api/delete": (("DELETE",), self._delete),
            "/api/pull": (("POST",), self._pull),
            "/api/chat": (("POST",), lambda: self.owner.answers.chat(self._json("ChatRequest"))),
            "/api/generate": (("POST",), lambda: self.owner.answers.generate(self._json("GenerateRequest"))),
            "/v1/chat/completions": (("POST",), lambda: chat_completion(self.owner.answers, self._json("ChatRequest"))),
        }
        if path not in routes:
            return Reply(404, "404 page not found", "text/plain")
        methods, handler = routes[path]
        if self.command not in methods:
            self._allow = ", ".join(methods)
            return Reply(405, "405 method not allowed", "text/plain")
        return handler()

    def _host_allowed(self) -> bool:
        """On a loopback address only requests to local names and addresses are served."""
        host = (
            self.headers.get("Host", "").rpartition("]")[0].lstrip("[")
            or self.headers.get("Host", "").partition(":")[0]
        )
        if host == "localhost" or host.endswith((".localhost", ".local", ".internal")) or not host:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or address.is_private or address.is_unspecified

    # The endpoints that change or show the store.

    def _tags(self) -> Reply:
        return Reply(200, tags(self.owner.store, self.owner.go, self.owner.release, *self._kept_how()))

    def _show(self) -> Reply:
        request = self._json("ShowRequest")
        asked = request.get("model") or request.get("name") or ""
        if not asked:
            raise ApiError("model is required", 400)
        try:
            name, _, source = parse_reference(asked)
        except BadReference as error:
            raise ApiError(str(error), 400) from None
        if source == "cloud":
            raise ApiError(cloud_failure("/api/show"), 502)
        legacy, mlx = self._kept_how()
        how = {"verbose": bool(request.get("verbose")), "runner": request.get("runner") or ""}
        release = self.owner.release
        return Reply(200, show(self.owner.store, self.owner.go, name, **how, release=release, legacy=legacy, mlx=mlx))

    def _kept_how(self) -> tuple[IsLegacy, set[str]]:
        return self.owner.legacy, self.owner.mlx if self.owner.release.tells_runners else set()

    def _create(self) -> Reply | Stream:
        request = self._json("CreateRequest")
        creation = Creation(self.owner.store, self.owner.go, request, self.owner.release)
        lines = creation.run(creation.checked_name())
        if "full" in self.faults:
            lines = self._filling(lines)
        return with_status(lines) if request.get("stream") is False else Stream(lines)

    def _filling(self, lines: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        yield next(lines)
        raise disk_full(self.owner.store.blobs / "COPY1234")

    def _copy(self) -> Reply:
        request = self._json("CopyRequest")
        store = self.owner.store
        names = []
        for key in ("source", "destination"):
            name = parse_name(request.get(key) or "")
            if not name.is_valid:
                raise ApiError(f'{key} "{request.get(key) or ""}" is invalid', 400)
            names.append(store.existing_name(name))
        if "full" in self.faults:
            raise disk_full(store.manifests / names[1].path)
        try:
            store.copy(*names)
        except FileNotFoundError:
            raise ApiError(f'model "{request["source"]}" not found', 404) from None
        return Reply(200, {"status": "success"}) if self.owner.release.copy_tells else Reply(200)

    def _delete(self) -> Reply:
        request = self._json("DeleteRequest")
        asked = request.get("model") or request.get("name") or ""
        try:
            name, base, source = parse_reference(asked)
        except BadReference as error:
            raise ApiError(f'name "{asked}" is invalid' if error.kind == "invalid" else str(error), 400) from None
        if source == "cloud":
            name = parse_name(f"{base}-cloud" if base.rfind(":") > base.rfind("/") else f"{base}:cloud")
        try:
            if "raced" in self.faults:
                raise self._raced(self.owner.store.existing_name(name))
            self.owner.store.delete(self.owner.store.existing_name(name))
        except FileNotFoundError:
            raise ApiError(f"model '{asked}' not found", 404) from None
        return Reply(200)

    def _raced(self, name: Name) -> ApiError:
        """Another delete of the same name comes between our reading of the manifest and its removal."""
        self.owner.store.delete(name)
        return ApiError(f"remove {self.owner.store.manifests / name.path}: no such file or directory", 500)

    def _pull(self) -> Reply | Stream:
        request = self._json("PullRequest")
        name = parse_name(request.get("model") or request.get("name") or "")
        if not name.is_valid:
            raise ApiError("invalid model name", 400)

        def lines() -> Iterator[dict[str, Any]]:
            yield {"status": "pulling manifest"}
            raise ApiError(pull_failure(name), 500)

        return with_status(lines()) if request.get("stream") is False else Stream(lines())

    def _blob_there(self, digest: str) -> Reply:
        if not self.owner.store.blob_path(digest).exists():
            raise ApiError(f'blob "{digest}" not found', 404)
        return Reply(200)

    def _blob_upload(self, digest: str) -> Reply:
        store = self.owner.store
        if store.blob_path(digest).exists():
            return Reply(200)

        def fill(out: BinaryIO) -> None:
            for count, chunk in enumerate(self._body()):
                out.write(chunk)
                if "die_during" in self.faults:
                    raise Death
                if "cut_during" in self.faults:
                    raise ConnectionAbortedError
                if "full" in self.faults and count == 0:
                    raise disk_full(out.name)

        layer = store.add_layer(fill, "")
        if layer.digest != digest:
            raise ApiError(f'digest mismatch, expected "{digest}", got "{layer.digest}"', 400)
        return Reply(201)

    # The wire.

    def _json(self, kind: str) -> dict[str, Any]:
        return parse_body(b"".join(self._body()), kind)

    def _body(self) -> Iterator[bytes]:
        """The request's body, by length or in chunks. Raises CutShort."""
        self._read = True
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := int(self.rfile.readline().partition(b";")[0].strip() or b"-1", 16):
                if size < 0:
                    raise CutShort
                yield self._exactly(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            chunk = self._exactly(min(left, CHUNK))
            left -= len(chunk)
            yield chunk

    def _exactly(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            raise CutShort
        return data

    def _reply(self, reply: Reply) -> None:
        body = reply.body
        if body is not None:
            text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, separators=(",", ":"))
            content = text.encode()
        else:
            content = b""
        bare_head = self.command == "HEAD" and body is None
        self.send_response(reply.status)
        if reply.status == 405:
            self.send_header("Allow", getattr(self, "_allow", "HEAD, POST"))
        if body is not None:
            self.send_header("Content-Type", reply.content_type)
        if not bare_head:
            self.send_header("Content-Length", str(len(content)))
        left = 0 if self._read else int(self.headers.get("Content-Length") or 0)
        if 0 < left <= DRAINED:
            self.rfile.read(left)
        elif left:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _stream(self, lines: Iterator[dict[str, Any]]) -> None:
        begun = False
        try:
            for line in lines:
                if not begun:
                    self._begin(200, STREAM)
                    begun = True
                self._chunk(line)
                if "die_during" in self.faults:
                    raise Death
        except ApiError as error:
            if not begun:
                self._begin(error.status, PLAIN_JSON)
            self._chunk({"error": str(error)}, newline=begun)
            begun = True
        finally:
            close = getattr(lines, "close", None)
            if close:
                close()
        if not begun:
            self._begin(200, STREAM)
        self.wfile.write(b"0\r\n\r\n")

    def _begin(self, status: int, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, line: dict[str, Any], *, newline: bool = True) -> None:
        data = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + (b"\n" if newline else b"")
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
