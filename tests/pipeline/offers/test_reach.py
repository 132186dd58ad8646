"""Whether the hub answers is known in the background, and where it doesn't, the other ways are named."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.offers.reach import MIRROR, Way, ask_hub, other_ways
from tests.support.hub_server import HubServer
from tests.support.tiny import make_tiny

HALF = "Qwen/Qwen2.5-0.5B-Instruct"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def portal() -> Iterator[str]:
    """A page that answers everything, as a hotel's does before one has signed in; below /wait it never answers."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            if self.path.startswith("/wait"):
                released.wait(60)
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()

    released = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    released.set()
    server.shutdown()
    server.server_close()


def test_a_hub_that_answers_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tiny(tmp_path / "hub" / HALF.replace("/", "--"))
    with HubServer(tmp_path / "hub") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url + "/")
        reach = ask_hub()
        assert reach.wait(60) is True and reach.now() is True and reach.endpoint == hub.url
        hub.status = 503
        assert ask_hub().wait(60) is False


def test_nobody_and_a_portal_are_no_hub(portal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for endpoint in ("http://127.0.0.1:9", portal, "no address at all"):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        assert ask_hub().wait(60) is False


def test_a_hub_that_is_silent_keeps_nobody_waiting(portal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"{portal}/wait")
    reach = ask_hub()
    assert reach.now() is None and reach.wait(0.01) is None
    assert reach.wait(60) is False


def test_who_wants_no_network_is_not_asked_for_it(portal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"{portal}/wait")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert ask_hub().wait(60) is False


def test_the_other_ways_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = other_ways(HALF)
    assert (first.key, first.source, dict(first.environment)) == ("modelscope", f"modelscope:{HALF}", {})
    assert second == Way("mirror", HALF, {"HF_ENDPOINT": MIRROR}, None)
    monkeypatch.setenv("HF_ENDPOINT", MIRROR)
    assert [way.key for way in other_ways(HALF)] == ["modelscope"]
    monkeypatch.delenv("HF_ENDPOINT")
    assert [way.key for way in other_ways("gpt2")] == ["mirror"]


def test_modelscope_says_which_package_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "modelscope.py").touch()
    assert other_ways(HALF)[0].lacks is None


def test_what_is_no_hub_model_has_no_other_way(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    for source in (str(tmp_path / "here"), "ollama:zzhua", f"modelscope:{HALF}", "/no/such", "./a", "x.gguf"):
        assert other_ways(source) == []


def test_taking_a_way_sets_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "before")
    assert Way("mirror", HALF, {"HF_ENDPOINT": MIRROR}).take() == HALF
    assert os.environ["HF_ENDPOINT"] == MIRROR
