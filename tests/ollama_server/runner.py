"""llama.cpp with one model loaded: llama-server's own API, in a process of its own."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ollama_export.llama_cpp.server import LlamaServer

from .errors import ApiError
from .model import Model

FOREVER = 1e10
"""Seconds; a negative keep_alive."""


class Runner:
    def __init__(self, weights: Path, adapters: list[Path], context: int, *, jinja: bool) -> None:
        self.context = context
        # As Ollama starts llama-server for a Go template: the name stands in for a template that isn't used.
        template = {} if jinja else {"chat_template": "chatml"}
        try:
            self._server = LlamaServer(
                weights,
                adapters=adapters,
                **{
                    "n_ctx": context,
                    "n_parallel": 1,
                    "n_gpu_layers": 0,
                    # Two threads on a tiny model mostly wait for each other.
                    "cpuparams.n_threads": 1,
                    "warmup": False,
                    "fit_params": False,
                    "ctx_shift": True,
                    "use_jinja": jinja,
                    **template,
                },
            )
        except RuntimeError as error:
            raise ApiError(f"error loading model {weights}: {error}", 500) from None
        self.address = self._server.address.removeprefix("http://")

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Raises ApiError with llama-server's status and text."""
        with self._sent(path, body) as response:
            return dict(json.load(response))

    def events(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The events of a streamed answer. Closing the iterator ends the generation."""
        with self._sent(path, body) as response:
            for line in response:
                if line.startswith(b"data: ") and line.strip() != b"data: [DONE]":
                    yield json.loads(line[len(b"data: ") :])

    @contextmanager
    def _sent(self, path: str, body: dict[str, Any]) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(self.address)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status >= 400:
                raise ApiError(response.read().decode("utf-8").strip(), response.status)
            yield response
        finally:
            connection.close()

    def tokenize(self, text: str, *, add_special: bool = False) -> list[int]:
        return list(self.post("/tokenize", {"content": text, "add_special": add_special})["tokens"])

    def detokenize(self, tokens: list[int]) -> str:
        return str(self.post("/detokenize", {"tokens": tokens})["content"])

    def close(self) -> None:
        self._server.close()


@dataclass
class Loaded:
    model: Model
    runner: Runner
    key: tuple[Any, ...]
    expires: float = 0.0
    """Seconds since the epoch."""


class Runners:
    """At most one model is loaded; it goes when it expires, when another comes, or when asked to."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._loaded: Loaded | None = None
        self._timer: threading.Timer | None = None

    @contextmanager
    def use(self, model: Model, context: int, keep_alive: float) -> Iterator[Runner]:
        """The runner of a model, loaded where it isn't. One request at a time."""
        trained = model.gguf.values.get(f"{model.gguf.architecture}.context_length", context)
        context = max(4, min(context, int(trained)))
        key = (model.weights, tuple(model.adapters), context, model.uses_go_template)
        with self._lock:
            if self._loaded is None or self._loaded.key != key:
                self.unload()
                assert model.weights is not None
                runner = Runner(model.weights, model.adapters, context, jinja=not model.uses_go_template)
                self._loaded = Loaded(model, runner, key)
            self._loaded.model = model
            try:
                yield self._loaded.runner
            finally:
                self._keep(keep_alive)

    def _keep(self, seconds: float) -> None:
        if self._timer:
            self._timer.cancel()
        if self._loaded is None:
            return
        self._loaded.expires = time.time() + seconds
        if seconds <= 0:
            self.unload()
        elif seconds < FOREVER:
            self._timer = threading.Timer(seconds, self._expire)
            self._timer.daemon = True
            self._timer.start()

    def _expire(self) -> None:
        with self._lock:
            if self._loaded and self._loaded.expires <= time.time():
                self.unload()

    def unload(self, model: Model | None = None) -> None:
        """Unloads a model, or whichever there is."""
        with self._lock:
            if self._loaded and (model is None or self._loaded.model.weights == model.weights):
                self._loaded.runner.close()
                self._loaded = None

    @property
    def loaded(self) -> Loaded | None:
        return self._loaded

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        self.unload()
