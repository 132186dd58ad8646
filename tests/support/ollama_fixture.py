"""The Ollama that tests talk to: the stand-in, or the real one that TEST_OLLAMA_HOST names."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.ollama_server.releases import OLDEST
from tests.ollama_server.server import OllamaServer


class TestOllama:
    """`url` to talk to, `name(...)` for a model name nobody else has. `is_real` where TEST_OLLAMA_HOST names it."""

    __test__ = False

    def __init__(self, url: str, *, is_real: bool) -> None:
        self.url, self.is_real = url, is_real
        self._mark = f"t{secrets.token_hex(4)}"
        self._before = self.models()

    def name(self, base: str) -> str:
        """A name of its own on a real server, which others use too; on the stand-in the name itself."""
        return f"{self._mark}-{base}" if self.is_real else base

    def models(self) -> set[str]:
        with self._session() as session:
            return {model["name"] for model in session.get(f"{self.url}/api/tags", timeout=30).json()["models"]}

    def clean_up(self) -> None:
        """Deletes every model with this test's mark."""
        with self._session() as session:
            for name in sorted(self.models() - self._before):
                if name.startswith(self._mark):
                    session.post(f"{self.url}/api/generate", json={"model": name, "keep_alive": 0}, timeout=60)
                    session.delete(f"{self.url}/api/delete", json={"model": name}, timeout=60)

    @staticmethod
    def _session() -> requests.Session:
        session = requests.Session()
        # A proxy from the environment has no business between a test and its server.
        session.trust_env = False
        return session


@contextmanager
def running_ollama(release: str = OLDEST.name) -> Iterator[TestOllama]:
    """An Ollama for one test: the stand-in with an empty store, or the real one, cleaned up afterwards."""
    host = os.environ.get("TEST_OLLAMA_HOST")
    if host:
        real = TestOllama(host if "://" in host else f"http://{host}", is_real=True)
        try:
            yield real
        finally:
            real.clean_up()
        return
    with tempfile.TemporaryDirectory() as folder, OllamaServer(Path(folder), release=release) as server:
        yield TestOllama(server.url, is_real=False)
