"""A reverse proxy, nginx by its pages, before an Ollama: what it refuses, and what it doesn't wait for."""

from __future__ import annotations

import base64
import threading
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

PAGE = (
    "<html>\r\n<head><title>{0}</title></head>\r\n"
    "<body>\r\n<center><h1>{0}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
"""As nginx writes it (src/http/ngx_http_special_response.c)."""
OF_ONE_CONNECTION = ("connection", "content-length", "host", "keep-alive", "server", "date", "transfer-encoding")
PIECE = 1 << 16
CHUNKED = ("Transfer-Encoding", "chunked")


class ReverseProxy:
    """Stands before the server at `target`, a context manager.

    `login` ("user:password") is what it wants; `largest` the bytes of a body that it lets through; `impatient` the
    requests ("POST /api/create") that it sends on without waiting for their answers, a time-out. `asked` lists them
    all.
    """

    def __init__(self, target: str) -> None:
        self.login, self.largest, self.impatient = "", 1 << 40, set[str]()
        self.asked: list[str] = []
        self.target = urlsplit(target).netloc
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.address}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def sent_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> HTTPResponse:
        """What the server behind answers."""
        connection = HTTPConnection(self.target, timeout=600)
        connection.request(method, path, body or None, headers)
        return connection.getresponse()


def _handler(proxy: ReverseProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

        def version_string(self) -> str:
            return "nginx/1.24.0"

        def do_GET(self) -> None:
            # as a proxy that the environment names it gets the whole address
            path = urlsplit(self.path).path
            call = f"{self.command} {path}"
            proxy.asked.append(call)
            size = int(self.headers.get("Content-Length") or 0)
            given = self.headers.get("Authorization", "").removeprefix("Basic ")
            if proxy.login and base64.b64decode(given).decode() != proxy.login:
                return self.page("401 Authorization Required", unread=size)
            if size > proxy.largest:
                return self.page("413 Request Entity Too Large", unread=size)
            kept = {name: value for name, value in self.headers.items() if name.lower() not in OF_ONE_CONNECTION}
            given_on = (self.command, path, kept, self.rfile.read(size))
            if call in proxy.impatient:
                threading.Thread(target=lambda: proxy.sent_on(*given_on).read(), daemon=True).start()
                return self.page("504 Gateway Time-out")
            with closing(proxy.sent_on(*given_on)) as response:
                return self.passed_on(response)

        do_HEAD = do_POST = do_DELETE = do_GET

        def page(self, title: str, *, unread: int = 0) -> None:
            """An answer of its own; what the client still sends is read and thrown away, as nginx does for a while."""
            data = PAGE.format(title).encode()
            self.send_response(int(title[:3]))
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)
            while unread and (piece := self.rfile.read(min(unread, PIECE))):
                unread -= len(piece)

        def passed_on(self, response: HTTPResponse) -> None:
            self.send_response(response.status)
            length = response.headers.get("Content-Length")
            for name, value in response.headers.items():
                if name.lower() not in OF_ONE_CONNECTION:
                    self.send_header(name, value)
            has_body = self.command != "HEAD"
            self.send_header(*(("Content-Length", length or "0") if length or not has_body else CHUNKED))
            self.end_headers()
            while has_body and (piece := response.read1(PIECE)):
                self.wfile.write(piece if length else b"%x\r\n%s\r\n" % (len(piece), piece))
            if has_body and not length:
                self.wfile.write(b"0\r\n\r\n")

    return Handler
