"""A proxy in the environment: it is used, and where it fails it is blamed, not what lies behind it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub_server import HubServer
from tests.support.program import Program
from tests.support.socks_server import SocksServer
from tests.support.tiny import make_tiny

LOWER = [f"{scheme}_proxy" for scheme in ("http", "https", "all", "no")]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    make_tiny(tmp_path / "models" / "acme--tiny")
    with HubServer(tmp_path / "models") as server:
        yield server


@pytest.fixture
def program(tmp_path: Path, hub: HubServer) -> Program:
    """One whose base models come from the hub, into an empty cache."""
    found = Program(tmp_path)
    for name in ("HF_HUB_OFFLINE", *LOWER, *map(str.upper, LOWER)):
        found.environment.pop(name, None)
    found.environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "cache")}
    return found


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address that nobody listens at."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{unused.getsockname()[1]}"


FROM_HUB = ("--base_model", "acme/tiny", "--no_register")
TOO_SHORT = ("--max_length", "16")
"""The end, once the base model is there and the data can be counted in its tokens."""


def without_socks(program: Program) -> None:
    """As on a machine where neither library's package for SOCKS is installed."""
    folder = program.folder / "not installed"
    for path in (folder / "socks.py", folder / "socksio" / "__init__.py"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("raise ImportError('not installed')\n", encoding="utf-8")
    program.environment["PYTHONPATH"] = f"{folder}:{program.environment['PYTHONPATH']}"


def test_a_socks_proxy_without_its_package_is_named_with_the_package_and_not_the_repository(
    program: Program, hub: HubServer, nobody: str
) -> None:
    without_socks(program)
    program.environment["ALL_PROXY"] = f"socks5://me:secret@{nobody}"
    told = program.run(*FROM_HUB, expect=6)
    message = told["error"]["message"]
    assert "ALL_PROXY" in message and "pip install socksio" in message and f"socks5://{nobody}" in message
    assert "secret" not in told["shown"] and "secret" not in message
    assert hub.fetched == [] and program.newest is None


def test_a_socks_proxy_without_its_package_is_named_with_the_package_and_not_ollama_host(
    program: Program, nobody: str
) -> None:
    without_socks(program)
    program.environment |= {"all_proxy": f"socks5h://{nobody}", "OLLAMA_HOST": "ollama.example.com"}
    message = program.run(expect=5)["error"]["message"]
    assert "all_proxy" in message and "pip install PySocks" in message
    assert "OLLAMA_HOST" not in message


@pytest.mark.parametrize("proxy", ["socks", "socks4"])
def test_a_kind_of_proxy_that_is_not_known_is_named_with_those_that_are(
    program: Program, nobody: str, proxy: str
) -> None:
    program.environment["HTTPS_PROXY"] = f"{proxy}://{nobody}"
    message = program.run(*FROM_HUB, expect=6)["error"]["message"]
    assert "HTTPS_PROXY" in message and f"{proxy}://{nobody}" in message and "socks5h" in message


def test_a_proxy_that_is_not_there_is_blamed_and_not_what_lies_behind_it(program: Program, nobody: str) -> None:
    program.environment |= {"HTTP_PROXY": nobody, "OLLAMA_HOST": "ollama.example.com"}
    for flags, code, behind in ((FROM_HUB, 6, "127.0.0.1"), ((), 5, "ollama.example.com")):
        message = program.run(*flags, expect=code)["error"]["message"]
        assert f"proxy {nobody} that HTTP_PROXY names" in message and f"put {behind} into NO_PROXY" in message
    # An address that needs none is reached without it.
    program.environment["NO_PROXY"] = "127.0.0.1"
    assert program.run(*FROM_HUB, *TOO_SHORT, expect=4)["error"]["key"] == "error.data.faults"


def test_a_base_model_comes_through_a_socks_proxy(program: Program, hub: HubServer) -> None:
    host, _, port = hub.url.removeprefix("http://").partition(":")
    with SocksServer((host, int(port))) as proxy:
        program.environment |= {"ALL_PROXY": f"socks5h://{proxy.address}", "HF_ENDPOINT": "http://hub.example.com"}
        assert program.run(*FROM_HUB, *TOO_SHORT, expect=4)["error"]["key"] == "error.data.faults"
    assert set(proxy.asked) == {("hub.example.com", 80)} and "model.safetensors" in hub.fetched
