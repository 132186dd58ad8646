"""The stand-in answers as a running Ollama did: every recorded exchange is made again, in order."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.ollama_server.server import OllamaServer
from tests.ollama_server.tiny_gguf import make_tiny_gguf
from tests.support.project import TESTS

EXCHANGES = [
    json.loads(line) for line in (TESTS / "data" / "ollama-exchanges.jsonl").read_text(encoding="utf-8").splitlines()
]
RECORDED_MODEL = "cfe08c22b3f5d1da87c8978a3a0322f4c5f793c3be183f6976de7bb8e2b0fcda"
RECORDED_UPLOAD = "28ab048a2d43ce4eeff17c306c36a3ee720eaaded79251333404202305ec9dc6"
UPLOAD = b"an upload of its own"
# By size; the bodies themselves weren't recorded.
SMALL_BODIES = {1: b"x", 5: b"hello", 6: b"other!"}
WORDS = ("content", "response", "token", "created_at", "modified_at", "expires_at", "digest", "id", "parameter_size")
"""Texts that differ from server to server: words, times, digests, and the size of another model."""
COUNTS = ("prompt_eval_count", "prompt_tokens")


class Replay:
    def __init__(self, server: OllamaServer, model: Path) -> None:
        self.server = server
        self.model = model.read_bytes()
        self.digest = hashlib.sha256(self.model).hexdigest()

    def own(self, text: str) -> str:
        """A recorded text with our digests in it."""
        own_upload = hashlib.sha256(UPLOAD).hexdigest()
        text = text.replace(RECORDED_MODEL.upper(), self.digest.upper()).replace(RECORDED_MODEL, self.digest)
        return text.replace(RECORDED_UPLOAD, own_upload)

    def body(self, request: dict[str, Any]) -> bytes:
        if "body" in request:
            size = int(re.match(r"<(\d+) bytes", request["body"])[1])  # type: ignore[index]
            return SMALL_BODIES.get(size, self.model)
        if "json" not in request:
            return b""
        sent = request["json"]
        return self.own(sent if isinstance(sent, str) else json.dumps(sent)).encode()

    def ask(self, request: dict[str, Any]) -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=60)
        connection.request(request["method"], self.own(request["path"]), self.body(request))
        response = connection.getresponse()
        answer = response.status, response.getheader("Content-Type", ""), response.read()
        connection.close()
        return answer

    def cut_upload(self) -> None:
        with socket.create_connection((self.server.host, self.server.port)) as connection:
            digest = hashlib.sha256(UPLOAD).hexdigest()
            head = f"POST /api/blobs/sha256:{digest} HTTP/1.1\r\nHost: localhost\r\n"
            connection.sendall(f"{head}Content-Length: {len(UPLOAD)}\r\n\r\n".encode() + UPLOAD[:7])
            connection.shutdown(socket.SHUT_WR)
            # The end of the connection: the server has dealt with it.
            connection.recv(1)

    def chunked_upload(self) -> None:
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=60)
        chunks = iter([UPLOAD[:5], UPLOAD[5:]])
        path = f"/api/blobs/sha256:{hashlib.sha256(UPLOAD).hexdigest()}"
        connection.request("POST", path, chunks, {"Transfer-Encoding": "chunked"}, encode_chunked=True)
        assert connection.getresponse().status == 201
        connection.close()


def plain(text: str) -> str:
    """A text without what differs from server to server; lines whose order is Go's map order are sorted."""
    text = re.sub(r"sha256([:-])(?!0{64}|1{64})[0-9a-fA-F]{64}", r"sha256\1<digest>", text)
    text = re.sub(r"(?<=[ =])[^ =]*[\\/]blobs[\\/]", "/models/blobs/", text)
    text = re.sub(r"ts=\d+", "ts=<time>", text)
    parameters = re.compile(r"^(PARAMETER \S+ .*|[a-z_]+ {8,}.*)\n?", re.MULTILINE)
    return parameters.sub("", text) + "\n".join(sorted(found.rstrip() for found in parameters.findall(text)))


def differences(recorded: Any, ours: Any, where: str = "") -> Iterator[str]:
    """Where an answer of ours isn't alike: fields, types, texts, token counts; numbers else only by type."""
    key = where.rpartition(".")[2].partition("[")[0]
    if isinstance(recorded, dict) and isinstance(ours, dict):
        if recorded.keys() != ours.keys():
            yield f"{where}: fields {sorted(recorded)}, ours {sorted(ours)}"
        for name in recorded.keys() & ours.keys():
            yield from differences(recorded[name], ours[name], f"{where}.{name}")
    elif isinstance(recorded, list) and isinstance(ours, list):
        cut = bool(recorded) and isinstance(recorded[-1], str) and recorded[-1].startswith("...")
        if not cut and len(recorded) != len(ours) and key not in ("logprobs", "context", "bytes"):
            yield f"{where}: {len(recorded)} items, ours {len(ours)}"
        for number, (theirs, own) in enumerate(zip(recorded[: -1 if cut else None], ours, strict=False)):
            yield from differences(theirs, own, f"{where}[{number}]")
    elif isinstance(recorded, bool) or recorded is None or isinstance(ours, bool):
        if recorded is not ours:
            yield f"{where}: {recorded}, ours {ours}"
    elif isinstance(recorded, (int, float)) and isinstance(ours, (int, float)):
        if key in COUNTS and recorded != ours:
            yield f"{where}: {recorded}, ours {ours}"
        if isinstance(ours, float) and isinstance(recorded, int):
            yield f"{where}: a whole number, ours {ours}"
    elif isinstance(recorded, str) and isinstance(ours, str):
        if key not in WORDS and plain(recorded) != plain(ours):
            yield f"{where}: {plain(recorded)!r}, ours {plain(ours)!r}"
    else:
        yield f"{where}: {type(recorded).__name__}, ours {type(ours).__name__}"


def compared(recorded: dict[str, Any], body: bytes) -> Iterator[str]:
    text = body.decode("utf-8")
    if "lines" in recorded:
        theirs, own = recorded["lines"], [json.loads(line) for line in text.splitlines()]
        if "message" in theirs[0] or "response" in theirs[0]:
            # As many lines as words: the first and the last stand for all.
            theirs, own = [theirs[0], theirs[-1]], [own[0], own[-1]]
        yield from differences(theirs, own)
    elif recorded.get("json") or text.startswith(("{", "[")):
        theirs, own = recorded["json"], json.loads(text or "null")
        if isinstance(own, dict) and isinstance(own.get("models"), list):
            for found in (theirs, own):
                found["models"].sort(key=lambda model: model["name"])
            # Made by a request that wasn't recorded.
            theirs["models"] = [model for model in theirs["models"] if model["name"] != "bb:latest"]
        yield from differences(theirs, own)
    elif recorded.get("text", "") != text:
        yield f"{recorded.get('text')!r}, ours {text!r}"


def test_every_recorded_exchange_is_answered_as_ollama_answered_it(tmp_path: Path) -> None:
    model = make_tiny_gguf(tmp_path / "tiny.gguf", embedding=64)
    faults = []
    with OllamaServer(tmp_path / "models") as server:
        replay = Replay(server, model)
        for exchange in EXCHANGES:
            before = {
                "blob HEAD after an upload that was cut": replay.cut_upload,
                "blob HEAD after a chunked upload": replay.chunked_upload,
            }.get(exchange["name"])
            if before:
                before()
            recorded = exchange["response"]
            status, content_type, body = replay.ask(exchange["request"])
            found = []
            if status != recorded["status"]:
                found.append(f"status {recorded['status']}, ours {status}: {body[:200]!r}")
            if content_type != recorded["headers"].get("Content-Type", ""):
                found.append(f"content type {recorded['headers'].get('Content-Type')!r}, ours {content_type!r}")
            found += compared(recorded, body)
            faults += [f"{exchange['name']}: {fault}" for fault in found]
    assert len(EXCHANGES) == 122
    assert not faults, "\n".join(faults)
