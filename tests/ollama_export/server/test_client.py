"""The Ollama client against odd servers: every error shape, broken streams, dying connections, proxies.

The servers here are real HTTP servers that answer as a test tells them; tests/ollama_server is the well-behaved one.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import shutil
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.errors import BaseModelError, OllamaError, ResourceError, UserError
from ollama_export.server import client as client_module
from ollama_export.server.client import OllamaClient
from ollama_export.server.host import parse_host
from ollama_export.server.transport import Refused
from tests.ollama_server.server import OllamaServer
from tests.ollama_server.tiny_gguf import make_tiny_gguf
from tests.support.socks_server import SocksServer

DIGEST = "sha256:" + "1" * 64
HELLO = [{"role": "user", "content": "hi"}]


class Request(BaseHTTPRequestHandler):
    """One request to a scripted server; a script answers it through the methods below."""

    protocol_version = "HTTP/1.1"
    server: Any

    def handle_request(self) -> None:
        self.server.seen.append(f"{self.command} {self.path}")
        self.server.script(self)

    do_GET = do_POST = do_DELETE = do_HEAD = handle_request

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output clean."""

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status: int, body: Any = None, *, text: str | None = None) -> None:
        data = b"" if body is None and text is None else (text or json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if text else "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def stream(self, *lines: Any, finish: bool = True) -> None:
        self.body()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            data = (line if isinstance(line, str) else json.dumps(line)).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        if finish:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.reset()

    def reset(self) -> None:
        """Die as a killed process does: the kernel answers with RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


Serve = Callable[[Callable[[Request], None]], "Server"]


class Server(ThreadingHTTPServer):
    """A server that answers by one function."""

    daemon_threads = True
    address_family = socket.AF_INET

    def __init__(self, script: Callable[[Request], None]) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.script, self.seen = script, list[str]()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that we cut ourselves is no news."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def client(self) -> OllamaClient:
        return OllamaClient(self.url)


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(script: Callable[[Request], None]) -> Server:
        servers.append(Server(script))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def raised(action: Callable[[], Any]) -> UserError:
    with pytest.raises(UserError) as caught:
        action()
    return caught.value


# Where the server is: contract table of OLLAMA_HOST.


@pytest.mark.parametrize(
    ("value", "url"),
    [
        (None, "http://127.0.0.1:11434"),
        ("", "http://127.0.0.1:11434"),
        ("h", "http://h:11434"),
        ("h:", "http://h:11434"),
        ("h:abc", "http://h:11434"),
        ("h:70000", "http://h:11434"),
        ("h:-1", "http://h:11434"),
        ("h:0", "http://h:0"),
        ("h:65535", "http://h:65535"),
        ("http://h", "http://h:80"),
        ("https://h", "https://h:443"),
        ("http://h:abc", "http://h:80"),
        ("https://h:70000", "https://h:443"),
        ("HTTP://h", "HTTP://h:11434"),
        ("ftp://h", "ftp://h:11434"),
        (":1234", "http://127.0.0.1:1234"),
        ("1234", "http://1234:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:5", "http://[::1]:5"),
        ("0:0:0:0:0:0:0:1", "http://[::1]:11434"),
        ("ollama.com", "https://ollama.com:443"),
        ("http://ollama.com", "http://ollama.com:80"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:5", "http://127.0.0.1:5"),
        ("[::]:5", "http://[::1]:5"),
        ("::", "http://[::1]:11434"),
        (" \"'h:5'\" ", "http://h:5"),
        ("'  h:5 '", "http://h:5"),
        ("https://h/ollama/", "https://h:443/ollama"),
        ("h:5/a/b", "http://h:5/a/b"),
        ("h/a:5", "http://h:11434/a:5"),
        ("/a", "http://127.0.0.1:11434/a"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(value: str | None, url: str) -> None:
    assert parse_host(value).url == url


def test_the_environment_names_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "example.com:99")
    assert OllamaClient().host == "http://example.com:99"
    monkeypatch.delenv("OLLAMA_HOST")
    assert OllamaClient().host == "http://127.0.0.1:11434"


@pytest.mark.parametrize(
    ("value", "here", "near"),
    [
        ("", True, True),
        ("localhost", True, True),
        ("api.localhost:1", True, True),
        ("127.0.0.2", True, True),
        ("[::1]:5", True, True),
        ("::ffff:127.0.0.1", True, True),
        (socket.gethostname(), True, True),
        ("192.168.1.5", False, True),
        ("10.0.0.1", False, True),
        ("172.16.0.1", False, True),
        ("100.64.0.1", False, True),
        ("169.254.1.1", False, True),
        ("[fd00::1]", False, True),
        ("gpu.local", False, True),
        ("gpu.internal", False, True),
        ("8.8.8.8", False, False),
        ("example.com", False, False),
        ("172.32.0.1", False, False),
    ],
)
def test_whose_machine_a_host_is(value: str, here: bool, near: bool) -> None:
    host = parse_host(value)
    assert (host.is_here, host.is_near) == (here, near)


def test_a_prefix_stands_before_every_path(serve: Serve) -> None:
    server = serve(lambda request: request.answer(200, {"version": "0.33.0"}))
    assert OllamaClient(server.url + "/behind/proxy/").version() == "0.33.0"
    assert server.seen == ["GET /behind/proxy/api/version"]


def test_a_proxy_never_stands_before_a_local_server_but_does_before_a_remote_one(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(lambda request: request.answer(200, {"version": "proxied"}))
    server = serve(lambda request: request.answer(200, {"version": "direct"}))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert server.client.version() == "direct"
    assert OllamaClient(server.url.replace("127.0.0.1", "localhost")).version() == "direct"
    assert OllamaClient("http://ollama.example.com").version() == "proxied"
    assert proxy.seen == ["GET http://ollama.example.com:80/api/version"]


def test_a_remote_server_is_reached_through_a_socks_proxy(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(lambda request: request.answer(200, {"version": "0.33.0"}))
    for name in ("HTTP_PROXY", "http_proxy", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with SocksServer(("127.0.0.1", server.server_port)) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5h://{proxy.address}")
        assert OllamaClient("ollama.example.com:99").version() == "0.33.0"
    assert proxy.asked == [("ollama.example.com", 99)]


@pytest.mark.parametrize("path", ["v1", "v1/", "api", "api/tags", "v1/chat/completions", "behind/proxy/v1"])
def test_a_path_of_the_api_at_the_end_of_the_host_is_to_be_taken_off(serve: Serve, path: str) -> None:
    server = serve(lambda request: (request.body(), request.answer(404, text="404 page not found")))
    client = OllamaClient(f"{server.url}/{path}")
    for call in (client.version, client.tags, lambda: client.show("m")):
        error = raised(call)
        assert (error.key, error.exit_code) == ("error.ollama.host_path", 5)
        assert error.values["plain"] == server.url + ("/behind/proxy" if path.startswith("behind") else "")


def test_another_path_without_ollama_is_told_as_such(serve: Serve) -> None:
    server = serve(lambda request: (request.body(), request.answer(404, text="404 page not found")))
    client = OllamaClient(server.url + "/v1beta")
    # "page not found" is no word of a model
    assert {raised(call).key for call in (client.version, lambda: client.show("m"))} == {"error.ollama.not_ollama"}


def test_a_server_that_does_not_encrypt_is_told_apart_from_one_that_is_not_there(serve: Serve) -> None:
    server = serve(lambda request: request.answer(200, {"version": "0.33.0"}))
    assert raised(OllamaClient(server.url.replace("http", "https")).version).key == "error.ollama.tls"


def test_a_redirection_names_the_address_to_write(serve: Serve) -> None:
    def moved(request: Request) -> None:
        request.send_response(301)
        request.send_header("Location", "https://ollama.example.com/api/version")
        request.send_header("Content-Length", "0")
        request.end_headers()

    error = raised(serve(moved).client.version)
    assert error.key == "error.ollama.redirected" and error.values["location"].startswith("https://ollama.example")


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = raised(OllamaClient(f"127.0.0.1:{unused.getsockname()[1]}").version)
    assert (error.key, error.exit_code) == ("error.ollama.unreachable", 5)


@pytest.mark.parametrize("host", ["ftp://h", "user:pass@h:5:6", "http://a b"])
def test_a_host_that_no_url_can_hold_is_named(host: str) -> None:
    error = raised(OllamaClient(host).version)
    assert error.key in ("error.ollama.host_invalid", "error.ollama.unknown_name")


def test_an_address_of_an_interface_that_is_not_there_is_unreachable() -> None:
    error = raised(OllamaClient("fe80::1%nowhere").version)
    assert (error.key, error.values["host"]) == ("error.ollama.unreachable", "http://[fe80::1%nowhere]:11434")


@pytest.mark.parametrize("body", [{"text": "<html>It works!</html>"}, {"body": ["a", "list"]}])
def test_another_program_on_the_port_is_not_taken_for_ollama(serve: Serve, body: dict[str, Any]) -> None:
    server = serve(lambda request: request.answer(200, **body))
    assert raised(server.client.version).key == "error.ollama.not_ollama"


# Errors, in each shape.


@pytest.mark.parametrize(
    ("status", "body", "key", "exit_code"),
    [
        (404, {"error": "model 'nobody:latest' not found"}, "error.ollama.model_missing", 5),
        (400, {"error": "invalid model name"}, "error.ollama.refused", 5),
        (403, None, "error.ollama.forbidden", 5),
        (503, {"error": "server busy, please try again"}, "error.ollama.busy", 5),
        (500, {"error": "write /m/blobs/sha256-1: no space left on device"}, "error.ollama.disk_full", 7),
        (500, {"error": "write /m/blobs/sha256-1: disk quota exceeded"}, "error.ollama.disk_full", 7),
        (500, {"error": "model requires more system memory (9 GiB) than is available"}, "error.ollama.memory", 7),
        (405, None, "error.ollama.refused", 5),
        (301, None, "error.ollama.refused", 5),
    ],
)
def test_an_error_status_says_what_it_means(serve: Serve, status: int, body: Any, key: str, exit_code: int) -> None:
    server = serve(lambda request: (request.body(), request.answer(status, body)))
    error = raised(lambda: server.client.show("nobody"))
    assert (error.key, error.exit_code) == (key, exit_code)
    if body and not isinstance(error, ResourceError):
        assert error.values["message"] == body["error"]
        assert isinstance(error, Refused) and error.status == status


def test_an_error_in_an_answer_that_says_200_is_an_error(serve: Serve) -> None:
    server = serve(lambda request: (request.body(), request.answer(200, {"error": "model runner has stopped"})))
    calls: list[Callable[[], Any]] = [
        server.client.tags,
        lambda: server.client.show("m"),
        lambda: server.client.chat("m", HELLO),
        lambda: server.client.generate("m", "hi"),
        lambda: server.client.rendered("m", HELLO),
    ]
    for call in calls:
        error = raised(call)
        assert isinstance(error, Refused) and error.key == "error.ollama.refused"
        assert error.values["message"] == "model runner has stopped"


NGINX = "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<h1>{0}</h1>\r\n<hr>nginx</body></html>"


@pytest.mark.parametrize(
    ("status", "text", "kind", "said"),
    [
        (401, NGINX.format("401 Authorization Required"), ".login", "401 Authorization Required"),
        (413, NGINX.format("413 Request Entity Too Large"), ".size", "413 Request Entity Too Large"),
        (413, "too large", ".size", "too large"),
        (502, "<html><body>Bad <b>Gate&amp;way</b></body></html>", ".down", "Bad Gate&way"),
        (504, NGINX.format("504 Gateway Time-out"), ".time", "504 Gateway Time-out"),
        (418, "a teapot", "", "a teapot"),
    ],
)
def test_an_error_that_is_no_json_is_not_ollamas_own(
    serve: Serve, status: int, text: str, kind: str, said: str
) -> None:
    server = serve(lambda request: request.answer(status, text=text))
    error = raised(server.client.tags)
    assert isinstance(error, Refused) and error.key == "error.ollama.in_between" + kind
    assert (error.values["status"], error.values["message"]) == (status, said)


@pytest.mark.parametrize(("free", "key"), [(3, "error.ollama.disk_full"), (1 << 40, "error.ollama.refused")])
def test_a_create_that_fails_beside_a_full_disk_is_said_to_lack_room(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, key: str
) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    told = "failed to validate GGUF with llama-quantize: llama-quantize failed: exit status 1"

    def answer(request: Any) -> None:
        request.body()
        if request.path == "/api/create":
            request.answer(500, {"error": told})
        elif request.path == "/api/tags":
            request.answer(200, {"models": [{"name": "other:latest", "digest": "d"}]})
        else:
            request.answer(200, {"modelfile": f"FROM {tmp_path}/sha256-{'0' * 64}"})

    client = serve(answer).client
    assert client.store() == tmp_path
    asked: list[Path] = []
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: (asked.append(place), usage)[1])
    error = raised(lambda: client.create_from_file("t1", path, hashlib.sha256(b"GGUF").hexdigest()))
    assert error.key == key and told in str(error.values["message"]) and asked == [tmp_path]


@pytest.mark.parametrize(
    ("told", "key"),
    [
        ("failed to validate GGUF with llama-quantize: llama-quantize failed: exit status 1", ".disk_full.perhaps"),
        ("template error: unclosed action", ".refused"),
    ],
)
def test_where_its_disk_is_not_seen_a_file_that_was_not_written_anew_is_perhaps_for_lack_of_room(
    serve: Serve, tmp_path: Path, told: str, key: str
) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")

    def answer(request: Any) -> None:
        request.body()
        if request.path == "/api/create":
            request.answer(500, {"error": told})
        elif request.path == "/api/tags":
            request.answer(200, {"models": [{"name": "other:latest", "digest": "d"}]})
        else:
            request.answer(200, {"modelfile": "FROM /root/of/a/container/blobs/sha256-0"})

    error = raised(lambda: serve(answer).client.create_from_file("t1", path, hashlib.sha256(b"GGUF").hexdigest()))
    assert (error.key, error.exit_code) == ("error.ollama" + key, 5) and error.values["message"] == told


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("{folder}/sha256-0", True),
        ("C:\\Users\\me\\.ollama\\models\\blobs\\sha256-0", False),  # Windows, seen from WSL
        ("/root/of/a/container/blobs/sha256-0", False),
        ("/" + "x" * 300 + "/sha256-0", False),  # as where a folder may not be looked into
        ("other", True),  # a model that has no file tells nothing
    ],
)
def test_the_store_is_where_the_models_say_and_nowhere_else(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, seen: bool
) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))

    def answer(request: Any) -> None:
        request.body()
        models = {"models": [{"name": "other:latest", "digest": "d"}]}
        shown = {"modelfile": "FROM " + source.format(folder=tmp_path)}
        request.answer(200, models if request.path == "/api/tags" else shown)

    assert serve(answer).client.store() == (tmp_path if seen else None)


@pytest.mark.parametrize(
    ("version", "rewrites"),
    [("0.33.0-rc2", True), ("0.34.0", True), ("0.34.1", False), ("0.40.2", False), ("1.0.0", False), ("0.0.0", True)],
)
def test_an_ollama_before_0_34_1_takes_room_for_three_copies(serve: Serve, version: str, rewrites: bool) -> None:
    assert serve(lambda r: r.answer(200, {"version": version})).client.rewrites is rewrites


def test_a_login_before_the_address_is_sent_and_never_shown(serve: Serve) -> None:
    seen: list[str] = []
    server = serve(lambda r: (seen.append(r.headers.get("Authorization", "")), r.answer(200, {"version": "0.33.0"})))
    client = OllamaClient(server.url.replace("http://", "http://me:se%40cret@"))
    assert client.version() == "0.33.0" and client.host == server.url
    assert seen == ["Basic " + base64.b64encode(b"me:se@cret").decode()]
    error = raised(OllamaClient("http://me:secret@exa mple:1").version)
    assert "secret" not in f"{error.values}" and "***@" in f"{error.values}"


def test_a_create_that_a_proxy_did_not_wait_for_is_looked_for_and_not_sent_again(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    digest = hashlib.sha256(b"GGUF").hexdigest()
    asked: list[str] = []
    model = {"name": "t1:latest", "digest": "d"}

    def answer(request: Any) -> None:
        request.body()
        asked.append(f"{request.command} {request.path}")
        if request.path == "/api/create":
            request.answer(504, text=NGINX.format("504 Gateway Time-out"))
        elif request.path == "/api/tags":
            # it is there when it is asked for the second time
            request.answer(200, {"models": [model] if asked.count("GET /api/tags") > 1 else []})
        else:
            request.answer(200, {"modelfile": f"FROM /models/blobs/sha256-{digest}"})

    serve(answer).client.create_from_file("t1", path, digest)
    assert asked.count("POST /api/create") == 1


def test_a_create_that_a_proxy_broke_off_and_ollama_did_not_finish_is_an_error(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "SECONDS_AFTER_TIMEOUT", 0.0)
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    digest = hashlib.sha256(b"GGUF").hexdigest()
    # what has the name is another model: a staging tag that somebody else took, or nothing at all
    for models in ([], [{"name": "t1:latest", "digest": "d"}]):

        def answer(request: Any, models: list[dict[str, str]] = models) -> None:
            request.body()
            if request.path == "/api/create":
                request.answer(504, text=NGINX.format("504 Gateway Time-out"))
            else:
                other = {"modelfile": f"FROM /models/blobs/sha256-{'0' * 64}"}
                request.answer(200, {"models": models} if request.path == "/api/tags" else other)

        server = serve(answer)
        error = raised(partial(server.client.create_from_file, "t1", path, digest))
        assert error.key == "error.ollama.in_between.time" and server.seen.count("POST /api/create") == 1


def create(server: Server) -> list[tuple[str, int, int]]:
    heard: list[tuple[str, int, int]] = []
    server.client.create("t1", files={"m.gguf": DIGEST}, status=lambda *step: heard.append(step))
    return heard


def test_a_stream_tells_its_steps_and_ends_with_success(serve: Serve) -> None:
    half = {"status": "quantizing F16 model to Q4_K_M", "digest": "sha256:0", "total": 10, "completed": 5}
    server = serve(lambda r: r.stream({"status": "parsing GGUF"}, half, {"status": "success"}))
    assert create(server) == [("parsing GGUF", 0, 0), ("quantizing F16 model to Q4_K_M", 5, 10), ("success", 0, 0)]


@pytest.mark.parametrize(
    ("message", "key", "exit_code"),
    [
        ("template error: template: :1: unclosed action", "error.ollama.refused", 5),
        ("write /m/blobs/sha256-12: no space left on device", "error.ollama.disk_full", 7),
        ("open C:\\m: There is not enough space on the disk.", "error.ollama.disk_full", 7),
        ("llama-quantize: out of memory", "error.ollama.memory", 7),
    ],
)
def test_an_error_line_inside_a_200_stream_is_an_error(serve: Serve, message: str, key: str, exit_code: int) -> None:
    server = serve(lambda r: r.stream({"status": "parsing GGUF"}, {"error": message}))
    error = raised(lambda: create(server))
    assert (error.key, error.exit_code, error.values["message"]) == (key, exit_code, message)


@pytest.mark.parametrize("last", [{"status": "writing manifest"}, {}])
def test_a_stream_that_ends_without_success_is_an_error(serve: Serve, last: dict[str, str]) -> None:
    server = serve(lambda r: r.stream({"status": "parsing GGUF"}, last))
    assert raised(lambda: create(server)).key == "error.ollama.unfinished"


def test_success_in_the_middle_of_a_stream_is_not_its_end(serve: Serve) -> None:
    pulled = [{"status": "pulling manifest"}, {"status": "success"}]
    failed = serve(lambda r: r.stream(*pulled, {"status": "parsing GGUF"}, {"error": "not GGUF"}))
    assert raised(lambda: create(failed)).values["message"] == "not GGUF"
    broken = serve(lambda r: r.stream(*pulled, {"status": "parsing GGUF"}))
    assert raised(lambda: create(broken)).key == "error.ollama.unfinished"
    whole = serve(lambda r: r.stream(*pulled, {"status": "parsing GGUF"}, {"status": "success"}))
    assert create(whole)[-1][0] == "success"


def test_success_and_then_a_dead_connection_is_no_success(serve: Serve) -> None:
    server = serve(lambda r: r.stream({"status": "success"}, finish=False))
    assert raised(lambda: create(server)).key == "error.ollama.connection_lost"


def test_a_server_that_dies_in_the_middle_is_a_lost_connection(serve: Serve) -> None:
    streaming = serve(lambda r: r.stream({"status": "parsing GGUF"}, finish=False))
    assert raised(lambda: create(streaming)).key == "error.ollama.connection_lost"
    silent = serve(lambda r: (r.body(), r.reset()))
    assert raised(lambda: silent.client.copy("a", "b")).key == "error.ollama.connection_lost"


@pytest.mark.parametrize("line", ["<html>", "[1]", '{"status": "pars'])
def test_a_stream_of_something_else_is_not_ollama(serve: Serve, line: str) -> None:
    server = serve(lambda r: r.stream(line))
    assert raised(lambda: create(server)).key == "error.ollama.not_ollama"


def test_a_source_that_is_not_there_is_never_pulled(serve: Serve) -> None:
    server = serve(lambda r: r.answer(200, {"models": []}))
    assert raised(lambda: server.client.create("t1", from_="nobody")).key == "error.ollama.model_missing"
    assert server.seen == ["GET /api/tags"]


# Uploads.


class Store:
    """A script that keeps blobs as Ollama does, with a place to misbehave."""

    def __init__(self, misbehave: Callable[[Request], bool] = lambda _: False) -> None:
        self.blobs: dict[str, bytes] = {}
        self.misbehave = misbehave

    def __call__(self, request: Request) -> None:
        digest = request.path.rpartition("/")[2]
        if request.command == "HEAD":
            request.answer(200 if digest in self.blobs else 404)
        elif not self.misbehave(request):
            body = request.body()
            true = "sha256:" + hashlib.sha256(body).hexdigest()
            self.blobs[true] = body
            if true == digest:
                request.answer(201)
            else:
                request.answer(400, {"error": f'digest mismatch, expected "{digest}", got "{true}"'})


@pytest.fixture
def big_file(tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "模型 1.gguf"
    path.write_bytes(b"GGUF" + bytes(5_000_000))
    return path, "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_upload_streams_the_file_with_progress_and_only_once(serve: Serve, big_file: tuple[Path, str]) -> None:
    path, digest = big_file
    store, heard = Store(), list[tuple[int, int]]()
    server = serve(store)
    assert server.client.upload(path, digest, lambda done, total: heard.append((done, total)))
    assert store.blobs[digest] == path.read_bytes()
    assert [total for _, total in heard] == [5_000_004] * 5 and heard[-1][0] == 5_000_004
    assert not server.client.upload(path, digest)
    assert [seen.split()[0] for seen in server.seen] == ["HEAD", "POST", "HEAD"]


def test_a_file_that_is_not_what_its_digest_says_is_refused(serve: Serve, big_file: tuple[Path, str]) -> None:
    error = raised(lambda: serve(Store()).client.upload(big_file[0], DIGEST))
    assert error.key == "error.ollama.digest_mismatch"


def test_an_upload_that_somebody_else_finished_meanwhile_is_done(serve: Serve, big_file: tuple[Path, str]) -> None:
    path, digest = big_file

    def there_already(request: Request) -> bool:
        store.blobs[digest] = b""
        request.answer(200)
        return True

    store = Store(there_already)
    assert serve(store).client.upload(path, digest)


def test_a_full_disk_during_an_upload_is_a_matter_of_resources(serve: Serve, big_file: tuple[Path, str]) -> None:
    def full(request: Request) -> bool:
        request.body()
        request.answer(500, {"error": "write /m/blobs/sha256-tmp: no space left on device"})
        return True

    error = raised(lambda: serve(Store(full)).client.upload(*big_file))
    assert (error.key, error.exit_code) == ("error.ollama.disk_full", 7)


def test_an_upload_cut_by_a_living_server_says_so(serve: Serve, big_file: tuple[Path, str]) -> None:
    def cut(request: Request) -> bool:
        request.rfile.read(100_000)
        request.reset()
        return True

    assert raised(lambda: serve(Store(cut)).client.upload(*big_file)).key == "error.ollama.upload_broken"


def test_an_upload_to_a_server_that_dies_ends_in_a_clear_error(serve: Serve, big_file: tuple[Path, str]) -> None:
    def die(request: Request) -> bool:
        request.rfile.read(100_000)
        server.socket.close()
        request.reset()
        return True

    server = serve(Store(die))
    error = raised(lambda: server.client.upload(*big_file))
    assert error.key in ("error.ollama.connection_lost", "error.ollama.unreachable")


# Patience.


@dataclass
class Patience:
    """For how many seconds the operating system waits (None: for ever) in sending a request and for its answer."""

    sending: set[float | None] = field(default_factory=set)
    answer: float | None = 0
    keeps_alive: bool = False


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> list[Patience]:
    """One for each request, seen at the sockets that the standard library sends by and waits on."""
    requests = [Patience()]
    send, getresponse = http.client.HTTPConnection.send, http.client.HTTPConnection.getresponse

    def sent(connection: http.client.HTTPConnection, data: Any) -> None:
        send(connection, data)
        requests[-1].sending.add(connection.sock.gettimeout())

    def waited(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        requests[-1].answer = connection.sock.gettimeout()
        requests[-1].keeps_alive = bool(connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        requests.append(Patience())
        return getresponse(connection)

    monkeypatch.setattr(http.client.HTTPConnection, "send", sent)
    monkeypatch.setattr(http.client.HTTPConnection, "getresponse", waited)
    return requests


LONG: dict[str, Callable[[OllamaClient], Any]] = {
    "chat": lambda client: client.chat("m", HELLO),
    "rendered": lambda client: client.rendered("m", HELLO),
    "generate": lambda client: client.generate("m", "hi"),
    "create": lambda client: client.create("m", files={"m.gguf": DIGEST}),
}
SHORT: dict[str, Callable[[OllamaClient], Any]] = {
    "version": OllamaClient.version,
    "tags": OllamaClient.tags,
    "show": lambda client: client.show("m"),
    "has_blob": lambda client: client.has_blob(DIGEST),
    "copy": lambda client: client.copy("m", "n"),
    "delete": lambda client: client.delete("m"),
    "unload": lambda client: client.unload("m"),
}


def whatever(request: Request) -> None:
    """An answer that does for every call."""
    if request.path == "/api/create":
        request.stream({"status": "success"})
    else:
        request.body()
        request.answer(200, {"message": {"content": "hi"}, "done": True})


@pytest.mark.parametrize("call", LONG)
def test_what_a_model_does_takes_as_long_as_it_takes(serve: Serve, patience: list[Patience], call: str) -> None:
    LONG[call](serve(whatever).client)
    assert patience[0].answer is None
    # A machine that is gone is noticed all the same.
    assert patience[0].keeps_alive


@pytest.mark.parametrize("call", SHORT)
def test_a_simple_question_is_given_up_in_the_end(serve: Serve, patience: list[Patience], call: str) -> None:
    SHORT[call](serve(whatever).client)
    assert patience[0].answer


def test_a_server_may_pause_in_an_upload_and_after_it(
    serve: Serve, patience: list[Patience], big_file: tuple[Path, str]
) -> None:
    assert serve(Store()).client.upload(*big_file)
    asked, sent, _ = patience
    assert asked.answer and sent.sending == {None} and sent.answer is None


# Answers.


def test_an_answer_knows_whether_it_stopped_by_itself(serve: Serve) -> None:
    message = {"role": "assistant", "content": "（点头）"}
    replies = [
        {"message": message, "done": True, "done_reason": "stop", "prompt_eval_count": 19, "eval_count": 4},
        {"message": message, "done": True, "done_reason": "length", "prompt_eval_count": 19, "eval_count": 8},
        {"message": message, "done": False},
    ]
    server = serve(lambda r: (r.body(), r.answer(200, replies.pop(0))))
    answers = [server.client.chat("m", [{"role": "user", "content": "你好"}], num_predict=8) for _ in range(3)]
    assert [(a.text, a.stopped, a.prompt_tokens, a.tokens) for a in answers] == [
        ("（点头）", True, 19, 4), ("（点头）", False, 19, 8), ("（点头）", False, None, None)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "repeats"),
    [
        ("prediction aborted, token repeat limit reached", True),
        ("The model produced output that does not match the expected Content-only format", False),
    ],
)
@pytest.mark.parametrize("status", [500, 200])
def test_an_answer_that_the_server_breaks_off_with_an_error_is_an_answer_without_an_end(
    serve: Serve, told: str, repeats: bool, status: int
) -> None:
    client = serve(lambda r: (r.body(), r.answer(status, {"error": told}))).client
    for answer in (client.chat("m", HELLO, num_predict=8), client.generate("m", "hi", raw=True)):
        assert (answer.stopped, answer.prompt_tokens, answer.tokens, answer.repeats) == (False, None, None, repeats)


def test_any_other_error_in_an_answer_is_one(serve: Serve) -> None:
    client = serve(lambda r: (r.body(), r.answer(500, {"error": "llama runner process has terminated"}))).client
    with pytest.raises(Refused):
        client.chat("m", HELLO, num_predict=8)


def test_an_ollama_too_old_to_render_is_recognised_by_its_answer(serve: Serve) -> None:
    rendered = {"message": {"role": "", "content": ""}, "done": False, "_debug_info": {"rendered_template": "<s>hi"}}
    generated = {"message": {"role": "assistant", "content": "x"}, "done": True, "done_reason": "length"}
    replies, bodies = [rendered, generated], list[Any]()
    server = serve(lambda r: (bodies.append(json.loads(r.body())), r.answer(200, replies.pop(0))))
    assert [server.client.rendered("m", HELLO) for _ in range(2)] == ["<s>hi", None]
    # What is too old to render must not write a novel instead.
    assert bodies[1]["options"] == {"num_predict": 1} and bodies[1]["stream"] is False


def test_unloading_waits_until_the_model_is_gone(serve: Serve) -> None:
    loaded = [[{"name": "m:latest"}, {"name": "other:latest"}], [{"name": "other:latest"}]]

    def script(request: Request) -> None:
        request.body()
        request.answer(200, {"models": loaded.pop(0)} if request.path == "/api/ps" else {"done_reason": "unload"})

    server = serve(script)
    server.client.unload("M")
    assert server.seen == ["POST /api/generate", "GET /api/ps", "GET /api/ps"]


# Answers as they come.


def test_pieces_are_told_as_they_come_and_a_thought_is_no_text(serve: Serve) -> None:
    asked: list[dict[str, Any]] = []

    def script(request: Request) -> None:
        asked.append(json.loads(request.rfile.read(int(request.headers["Content-Length"]))))
        request.headers.replace_header("Content-Length", "0")
        said = [{"content": "", "thinking": "嗯"}, {"content": "你"}, {"content": ""}, {"content": "好"}]
        end = {"message": {"content": ""}, "done": True, "done_reason": "stop", "prompt_eval_count": 9, "eval_count": 2}
        request.stream(*({"message": message, "done": False} for message in said), end)

    pieces: list[str] = []
    answer = serve(script).client.stream("m", HELLO, pieces.append, seed=7)
    assert (answer.text, answer.stopped, answer.prompt_tokens, answer.tokens) == ("你好", True, 9, 2)
    assert pieces == ["", "你", "好"]
    assert asked == [{"model": "m", "messages": HELLO, "stream": True, "options": {"seed": 7}}]


def test_what_was_said_before_a_model_only_repeated_itself_is_an_answer(serve: Serve) -> None:
    lines = {"message": {"content": "aa"}, "done": False}, {"error": "token repeat limit reached"}
    answer = serve(lambda request: request.stream(*lines)).client.stream("m", HELLO, lambda _: None)
    assert (answer.text, answer.stopped, answer.repeats) == ("aa", False, True)


def test_a_stream_that_breaks_is_an_error_and_one_that_just_ends_an_answer_without_end(serve: Serve) -> None:
    line = {"message": {"content": "aa"}, "done": False}
    error = raised(lambda: serve(lambda r: r.stream(line, finish=False)).client.stream("m", HELLO, lambda _: None))
    assert isinstance(error, OllamaError) and error.key == "error.ollama.connection_lost"
    answer = serve(lambda request: request.stream(line)).client.stream("m", HELLO, lambda _: None)
    assert (answer.text, answer.stopped) == ("aa", False)


# A model's own file.


def modelfile(source: str, more: str = "") -> dict[str, str]:
    head = '# Modelfile generated by "ollama show"\n# FROM t1:latest\n\n'
    return {"modelfile": f'{head}FROM {source}\n{more}TEMPLATE {{{{ .Prompt }}}}\nSYSTEM """\nADAPTER x\nFROM y"""\n'}


def test_the_blob_of_a_model_is_found_where_show_says(serve: Serve, tmp_path: Path) -> None:
    blob = tmp_path / "my models" / ("sha256-" + "ab" * 32)
    blob.parent.mkdir()
    blob.write_bytes(b"GGUF\x03")
    client = serve(lambda r: (r.body(), r.answer(200, modelfile(str(blob))))).client
    assert client.blob_path("t1") == blob
    assert client.stored_gguf("t1") == "ab" * 32


@pytest.mark.parametrize(
    ("source", "more", "key"),
    [
        ("/nowhere/blobs/sha256-12", "", "error.base.ollama_unreadable"),
        ("llama3:cloud", "", "error.base.ollama_unreadable"),
        ("", "", "error.base.ollama_unreadable"),
        (__file__, "", "error.base.ollama_no_gguf"),
        (__file__, "ADAPTER /m/blobs/sha256-34\n", "error.base.ollama_adapter"),
    ],
)
def test_a_blob_that_cannot_be_used_is_a_clear_error(serve: Serve, source: str, more: str, key: str) -> None:
    client = serve(lambda r: (r.body(), r.answer(200, modelfile(source, more)))).client
    error = raised(lambda: client.blob_path("t1"))
    assert isinstance(error, BaseModelError) and error.key == key


def test_a_remote_server_has_no_blobs_for_us() -> None:
    error = raised(lambda: OllamaClient("http://example.com").blob_path("t1"))
    assert (error.key, error.exit_code) == ("error.base.ollama_remote", 6)


def test_a_file_is_found_in_the_store_by_its_digest_whichever_model_holds_it(
    ollama_server: OllamaServer, tiny_gguf: Path, tmp_path: Path
) -> None:
    client = OllamaClient(ollama_server.url)
    digest = hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()
    client.upload(tiny_gguf, digest)
    client.create("zzhua", files={"model.gguf": digest})
    digest = client.stored_gguf("zzhua") or ""
    client.copy("zzhua", "zzhua:backup-20261201-1")
    other = make_tiny_gguf(tmp_path / "other.gguf", seed=1)
    client.upload(other, hashlib.sha256(other.read_bytes()).hexdigest())
    client.create("zzhua", files={"model.gguf": hashlib.sha256(other.read_bytes()).hexdigest()})
    assert client.stored_gguf("zzhua") != digest
    for holder in ("zzhua", "zzhua:backup-20261201-1", "no-such-name"):
        assert client.stored_file(digest, holder) == ollama_server.store.blob_path(f"sha256:{digest}")
    assert client.stored_file("0" * 64, "zzhua") is None


def test_a_file_that_only_the_server_can_see_is_not_said_to_be_gone(serve: Serve) -> None:
    def script(request: Request) -> None:
        request.body()
        request.answer(200, {**modelfile("/nowhere/blobs/sha256-12"), "models": []})

    error = raised(lambda: serve(script).client.stored_file("ab" * 32, "t1"))
    assert isinstance(error, BaseModelError) and error.key == "error.base.ollama_unreadable"
    assert error.values["path"] == f"/nowhere/blobs/sha256-{'ab' * 32}"


def test_what_ollama_refuses_and_what_breaks_are_told_apart() -> None:
    assert issubclass(Refused, OllamaError) and Refused("error.ollama.busy", 503).values == {"status": 503}
