"""Start an installed but stopped Ollama on this machine, the way it is installed.

A service, the app and a plain `ollama serve` may each keep another store of models, so exactly one way is right; where
that one can't be taken, nothing is started.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lora_trainer.errors import OllamaError
from ollama_export.server.client import OllamaClient

SECONDS_TO_END = 10.0
"""So long a server may take to end when it is asked to."""
_UNIT_FOLDERS = ("etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")


@dataclass(frozen=True)
class Way:
    """A command that starts Ollama: `lasting` is the server itself, others return when they have told somebody to."""

    name: str
    command: tuple[str, ...]
    lasting: bool = False


def ensure_running(
    client: OllamaClient,
    *,
    starting: Callable[[str], None] = lambda _: None,
    seconds: float = 60.0,
    root: Path = Path("/"),
) -> str:
    """Return the server's version when it answers; `starting` hears the command by which it is started, if it is.

    `root` is the file system in which the installation is looked for. Raises OllamaError where the server doesn't
    answer and is on another machine, not installed, not to be started by us (a service that asks for a password), or
    silent for `seconds` after the start.
    """
    try:
        return client.version()
    except OllamaError as error:
        if error.key != "error.ollama.unreachable" or not client.is_local:
            raise
    way = find_way(sys.platform, root, Path.home(), os.environ, client.host)
    command = " ".join(way.command)
    starting(command)
    with _log(way) as log:
        before = log.seek(0, os.SEEK_END)
        process = _start(way, client, log)
        end = time.monotonic() + seconds
        while (version := _version(client)) is None:
            code = process.poll()
            if code is not None and (code != 0 or way.lasting):
                log.seek(before)
                reason = log.read().decode(errors="replace").strip()[-500:] or f"exit code {code}"
                raise _start_failed(way, reason)
            if time.monotonic() > end:
                if way.lasting:
                    _end(process)
                raise OllamaError("error.ollama.start_silent", command=command, host=client.host, seconds=int(seconds))
            time.sleep(0.2)
    return version


def can_be_had(client: OllamaClient, root: Path = Path("/")) -> None:
    """Raise the OllamaError that `ensure_running` would where Ollama neither answers nor can be started."""
    try:
        client.version()
    except OllamaError as error:
        if error.key != "error.ollama.unreachable" or not client.is_local:
            raise
        find_way(sys.platform, root, Path.home(), os.environ, client.host)


def find_way(platform: str, root: Path, home: Path, environment: Mapping[str, str], host: str = "") -> Way:
    """How Ollama is installed under `root` (a machine's file system); raises OllamaError (naming `host`) where not.

    The commands for the apps are those of Ollama's own cmd/start_darwin.go and cmd/start_windows.go.
    """
    if platform == "darwin":
        for app in (root / "Applications/Ollama.app", home / "Applications/Ollama.app"):
            if app.is_dir():
                return Way("app", ("open", "-j", "-a", str(app), "--args", "--fast-startup"))
    elif platform == "win32":
        app = Path(environment.get("LOCALAPPDATA", home / "AppData/Local")) / "Programs/Ollama/ollama app.exe"
        if app.is_file():
            return Way("app", (str(app), "--hide", "--fast-startup"))
    else:
        way = _service(root, home)
        if way:
            return way
    program = shutil.which("ollama", path=environment.get("PATH"))
    if program is None:
        raise OllamaError("error.ollama.not_installed", host=host)
    return Way("serve", (program, "serve"), lasting=True)


def _service(root: Path, home: Path) -> Way | None:
    """The systemd unit or snap of a Linux machine; raises OllamaError for a unit without a systemd to start it."""
    if (root / "snap/bin/ollama").exists():
        return Way("snap", ("snap", "start", "ollama"))
    personal = home / ".config/systemd/user/ollama.service"
    if not personal.exists() and not any((root / folder / "ollama.service").exists() for folder in _UNIT_FOLDERS):
        return None
    user = ("--user",) if personal.exists() else ()
    command = ("systemctl", *user, "--no-ask-password", "start", "ollama")
    if not (root / "run/systemd/system").exists():  # sd_booted(3)
        raise OllamaError("error.ollama.no_systemd", command=" ".join(command))
    return Way("systemd", command)


def _version(client: OllamaClient) -> str | None:
    try:
        return client.version()
    except OllamaError as error:
        if error.key not in ("error.ollama.unreachable", "error.ollama.connection_lost", "error.ollama.no_answer"):
            raise
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server of ours that doesn't answer: the next one shall find its port and its models free."""
    process.terminate()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _log(way: Way) -> IO[bytes]:
    """Where the command writes: a server of ours to the file that Ollama's app uses, others only for an error text."""
    if way.name != "serve":
        return tempfile.TemporaryFile()
    path = Path.home() / ".ollama" / "logs" / "server.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+b")
    except OSError as error:
        raise _start_failed(way, str(error)) from error


def _start(way: Way, client: OllamaClient, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """The started process; a server outlives us and our terminal, and listens where the client will look."""
    environment = {**os.environ, **({"OLLAMA_HOST": client.given} if client.given else {})}
    detached = 0x00000008 | 0x00000200 if sys.platform == "win32" else 0  # DETACHED_PROCESS, CREATE_NEW_PROCESS_GROUP
    try:
        return subprocess.Popen(
            way.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
            creationflags=detached,
        )
    except OSError as error:
        raise _start_failed(way, error.strerror or str(error)) from error


def _start_failed(way: Way, reason: str) -> OllamaError:
    key = "error.ollama.start_failed_service" if way.name in ("systemd", "snap") else "error.ollama.start_failed"
    return OllamaError(key, command=" ".join(way.command), reason=reason)
