"""A stopped Ollama is started the way it is installed, and only that way."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lora_trainer.errors import OllamaError
from ollama_export.server import start
from ollama_export.server.client import OllamaClient
from ollama_export.server.start import Way, ensure_running, find_way

# A "#!" line takes no interpreter with a space in its path: a shell script that is Python too, as pip writes them.
SERVER = """#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({{"version": "0.33.0"}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

assert sys.argv[1:] == ["serve"]
{before}
host, port = os.environ["OLLAMA_HOST"].split(":")
HTTPServer((host, int(port)), Handler).serve_forever()
"""


@pytest.fixture
def unused() -> Iterator[socket.socket]:
    """A port that nobody listens on, and nobody else is given."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


@pytest.fixture
def client(unused: socket.socket) -> OllamaClient:
    return OllamaClient(f"127.0.0.1:{unused.getsockname()[1]}")


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, before: str = "") -> None:
    """Put a program named ollama on the PATH, and an empty home around it."""
    folder.mkdir()
    program = folder / "ollama"
    program.write_text(SERVER.format(python=sys.executable, before=before), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("HOME", str(folder))


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("", encoding="utf-8")


def key(action: object) -> str:
    with pytest.raises(OllamaError) as caught:
        action()  # type: ignore[operator]
    return caught.value.key


posix = pytest.mark.posix("a script can't be named ollama.exe")


@posix
def test_a_plain_installation_is_served_and_answers(
    client: OllamaClient, unused: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "bin", monkeypatch, before="print('listening', os.getpid(), flush=True)")
    unused.close()
    commands: list[str] = []
    assert ensure_running(client, starting=commands.append, root=tmp_path / "no root") == "0.33.0"
    assert commands == [f"{tmp_path / 'bin/ollama'} serve"]
    log = (tmp_path / "bin/.ollama/logs/server.log").read_text(encoding="utf-8")
    word, pid = log.splitlines()[0].split()
    try:
        # Neither a Ctrl-C in this terminal nor the terminal's end reaches it.
        assert word == "listening" and os.getsid(int(pid)) == int(pid)
    finally:
        os.kill(int(pid), signal.SIGKILL)


@posix
def test_a_server_that_cannot_start_says_why(
    client: OllamaClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "bin", monkeypatch, before="sys.exit('Error: listen tcp: address already in use')")
    with pytest.raises(OllamaError) as caught:
        ensure_running(client, root=tmp_path / "no root")
    assert caught.value.key == "error.ollama.start_failed"
    assert caught.value.values["reason"] == "Error: listen tcp: address already in use"


@posix
@pytest.mark.parametrize("deaf", ["", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "])
def test_a_server_that_stays_silent_is_ended_and_told(
    client: OllamaClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf: str
) -> None:
    monkeypatch.setattr(start, "SECONDS_TO_END", 0.5)
    others = set(psutil.Process().children())
    install(tmp_path / "bin", monkeypatch, before=f"{deaf}import time; time.sleep(600)")
    # An error of this key also says that the server lived until then.
    assert key(lambda: ensure_running(client, seconds=1, root=tmp_path / "no root")) == "error.ollama.start_silent"
    assert set(psutil.Process().children()) <= others


@posix
def test_beside_another_program_on_the_port_nothing_is_started(
    client: OllamaClient, unused: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "bin", monkeypatch)

    def answer() -> None:
        connection, _ = unused.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    unused.listen()
    threading.Thread(target=answer, daemon=True).start()
    assert key(lambda: ensure_running(client, root=tmp_path / "no root")) == "error.ollama.not_ollama"
    assert not (tmp_path / "bin/.ollama").exists()


def test_a_server_on_another_machine_is_never_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "bin", monkeypatch)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    remote = OllamaClient("ollama.invalid:1")
    assert not remote.is_local
    assert key(lambda: ensure_running(remote, root=tmp_path)) == "error.ollama.unknown_name"
    assert not (tmp_path / "bin/.ollama").exists()


def test_without_ollama_the_error_says_how_to_get_it(
    client: OllamaClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert key(lambda: ensure_running(client, root=tmp_path)) == "error.ollama.not_installed"


@pytest.mark.parametrize("folder", ["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"])
def test_a_service_is_started_by_systemd_and_not_beside_it(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "bin", monkeypatch)
    touch(tmp_path / folder / "ollama.service")
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    way = find_way("linux", tmp_path, tmp_path / "home", os.environ)
    assert way.command == ("systemctl", "--no-ask-password", "start", "ollama")


def test_a_personal_service_is_started_as_such(tmp_path: Path) -> None:
    touch(tmp_path / "home/.config/systemd/user/ollama.service")
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    way = find_way("linux", tmp_path, tmp_path / "home", {})
    assert way.command == ("systemctl", "--user", "--no-ask-password", "start", "ollama")


def test_a_service_without_a_running_systemd_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "bin", monkeypatch)
    touch(tmp_path / "etc/systemd/system/ollama.service")
    assert key(lambda: find_way("linux", tmp_path, tmp_path / "home", os.environ)) == "error.ollama.no_systemd"


@posix
def test_a_service_that_may_not_be_started_names_the_command_for_an_administrator(
    client: OllamaClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.write_text("#!/bin/sh\necho 'Interactive authentication required.' >&2\nexit 1\n", encoding="utf-8")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    touch(tmp_path / "root/etc/systemd/system/ollama.service")
    (tmp_path / "root/run/systemd/system").mkdir(parents=True)
    with pytest.raises(OllamaError) as caught:
        ensure_running(client, root=tmp_path / "root")
    assert caught.value.key == "error.ollama.start_failed_service"
    assert caught.value.values == {
        "command": "systemctl --no-ask-password start ollama",
        "reason": "Interactive authentication required.",
    }


def test_a_snap_is_started_by_snap(tmp_path: Path) -> None:
    touch(tmp_path / "snap/bin/ollama")
    assert find_way("linux", tmp_path, tmp_path, {}).command == ("snap", "start", "ollama")


def test_the_apps_of_macos_and_windows_are_opened(tmp_path: Path) -> None:
    app = tmp_path / "Applications/Ollama.app"
    app.mkdir(parents=True)
    opened = ("open", "-j", "-a", str(app), "--args", "--fast-startup")
    assert find_way("darwin", tmp_path, tmp_path / "home", {}) == Way("app", opened)
    app = tmp_path / "Local/Programs/Ollama/ollama app.exe"
    touch(app)
    way = find_way("win32", tmp_path, tmp_path, {"LOCALAPPDATA": str(tmp_path / "Local")})
    assert way == Way("app", (str(app), "--hide", "--fast-startup"))


@posix
def test_without_the_app_macos_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "bin", monkeypatch)
    assert find_way("darwin", tmp_path, tmp_path, os.environ).command == (str(tmp_path / "bin/ollama"), "serve")
