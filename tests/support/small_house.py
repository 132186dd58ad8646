"""The program with tiny requirements, and pip's other end: wheels of a line, an index of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from tests.support.project import ROOT

ROOMS = ("file_formats", "lora_trainer", "ollama_export", "data_desk", "pipeline", "wizard")
KEEP = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")
NOBODY = "ollama.invalid:9"
"""No Ollama: a name that no server ever has, and that nobody would start one for."""


def environment(**more: str | Path) -> dict[str, str]:
    """A shell's environment with nothing of ours or pip's in it."""
    plain = {name: os.environ[name] for name in KEEP if name in os.environ}
    return plain | {"LANG": "C.UTF-8", "PIP_CONFIG_FILE": os.devnull} | {k: str(v) for k, v in more.items()}


def run(script: Path, *arguments: str, cwd: Path | None = None, **more: str | Path) -> subprocess.CompletedProcess[str]:
    """The script without a terminal, as continuous integration runs it."""
    return subprocess.run(
        ["bash", str(script), *arguments],
        cwd=cwd or "/",
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


def wheel(
    folder: Path, name: str, version: str = "1.0", requires: str = "", extra: dict[str, str] | None = None
) -> Path:
    """A package of one line, with all that pip asks of a wheel."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    head = "Metadata-Version: 2.1\nName: {}\nVersion: {}\n{}"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}/__init__.py", f"__version__ = {version!r}\n")
        file.writestr(f"{info}/METADATA", head.format(name, version, requires and f"Requires-Dist: {requires}\n"))
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
        for inner, text in (extra or {}).items():
            file.writestr(inner, text)
    return path


def make_small_house(folder: Path) -> Path:
    """The program with requirements that are installed in a second, and their wheels beside it."""
    house = folder / "我的 模型 $HOME 'x'"
    house.mkdir()
    for room in ROOMS:
        shutil.copytree(ROOT / room, house / room, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("quick_start.sh", "quick_start.bat", "pyproject.toml"):
        shutil.copy(ROOT / file, house)
    (house / "requirements.txt").write_text("torch>=2.6\nbiscuit\n", encoding="utf-8")
    (house / "requirements-nodeps.txt").write_text("parrot\n", encoding="utf-8")
    (house / "constraints.txt").write_text("torch==2.13.0\nbiscuit==1.0\n", encoding="utf-8")
    wheel(folder / "wheels", "biscuit")
    wheel(folder / "wheels", "biscuit", "2.0")
    wheel(folder / "wheels", "parrot", requires="no-such-package")
    return house


def without_index(folder: Path, python: Path) -> dict[str, str | Path]:
    """Pip finds the wheels of a small house, and keeps a log of its calls."""
    wheels = (folder / "wheels").as_uri()
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels, "PIP_LOG": folder / "pip.log", "PYTHON": python}


def python_without_pip(folder: Path, torch: str = "") -> Path:
    """A Python of its own that has nothing, or a (tiny) package torch of that version."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=120)
    python = folder / "bin" / "python"
    if torch:
        packages = folder / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
        with zipfile.ZipFile(wheel(folder / "wheels", "torch", torch)) as file:
            file.extractall(packages)
    return python


DRIP = 300_000
"""Bytes that come before a wheel stops; pip takes them in pieces of up to 256 KiB."""


class Index(ThreadingHTTPServer):
    """A package index over a folder of wheels that counts what it was asked.

    With `silent` it never answers; with `drips` a wheel stops on its way until `closing` is set; one whose name begins
    with `breaks` breaks off in the middle.
    """

    drips = False
    breaks = ""

    def __init__(self, folder: Path, silent: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.folder, self.silent = folder, silent
        self.asked: list[str] = []
        self.closing = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/simple"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asked has gone: nothing to say."""


class Answering(BaseHTTPRequestHandler):
    """One request to an Index."""

    server: Index

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.server.silent:
            self.server.closing.wait()
            return
        name = unquote(self.path.rstrip("/").rpartition("/")[2])
        if name.endswith(".whl"):
            body = (self.server.folder / name).read_bytes()
        else:
            files = sorted(path.name for path in self.server.folder.glob(f"{name}-*.whl"))
            body = "".join(f'<a href="/files/{file}">{file}</a>' for file in files).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream" if name.endswith(".whl") else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if name.endswith(".whl") and self.server.breaks and name.startswith(self.server.breaks):
            body = body[: len(body) // 2]
        at = DRIP if name.endswith(".whl") and self.server.drips else 0
        self.wfile.write(body[:at])
        if at:
            self.wfile.flush()
            self.server.closing.wait()
        self.wfile.write(body[at:])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def answer(house: Path, code: str) -> str:
    """What the Python in .venv prints."""
    python = house / ".venv" / "bin" / "python"
    return subprocess.run([python, "-c", code], capture_output=True, encoding="utf-8", check=True).stdout.strip()
