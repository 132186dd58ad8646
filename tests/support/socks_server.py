"""A SOCKS 5 proxy (RFC 1928) that leads every name to one server, as the names of a test are nobody's."""

from __future__ import annotations

import socket
import threading
from socketserver import StreamRequestHandler, ThreadingTCPServer
from types import TracebackType
from typing import Self


class SocksServer:
    """Stands before `target` (host, port); `asked` are the names and ports that were wanted."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.asked: list[tuple[str, int]] = []
        proxy = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                _, methods = self.rfile.read(2)
                self.rfile.read(methods)
                self.wfile.write(b"\x05\x00")
                _, _, _, kind = self.rfile.read(4)
                length = self.rfile.read(1)[0] if kind == 3 else {1: 4, 4: 16}[kind]
                name = self.rfile.read(length)
                port = int.from_bytes(self.rfile.read(2))
                proxy.asked.append((name.decode() if kind == 3 else socket.inet_ntoa(name), port))
                with socket.create_connection(target) as far:
                    self.wfile.write(b"\x05\x00\x00\x01" + bytes(6))
                    back = threading.Thread(target=carry, args=(far, self.connection), daemon=True)
                    back.start()
                    carry(self.connection, far)
                    back.join()

        ThreadingTCPServer.allow_reuse_address = True
        self._server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


def carry(source: socket.socket, destination: socket.socket) -> None:
    """Bytes from one side to the other, up to the end of either."""
    try:
        while piece := source.recv(65536):
            destination.sendall(piece)
        destination.shutdown(socket.SHUT_WR)
    except OSError:
        return
