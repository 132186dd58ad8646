"""Jinja chat templates rendered by llama.cpp itself, as Ollama's other path does."""

from __future__ import annotations

from pathlib import Path

import requests

from ollama_export.llama_cpp.server import LlamaServer


class LlamaJinja:
    """One llama.cpp server with `chat_template` in place of the GGUF's own; a context manager."""

    def __init__(self, gguf: Path, chat_template: str) -> None:
        small = {"n_ctx": 64, "n_parallel": 1, "n_gpu_layers": 0, "warmup": False}
        self._server = LlamaServer(gguf, chat_template=chat_template, use_jinja=True, **small)
        self._session = requests.Session()
        self._session.trust_env = False

    def render(self, messages: list[dict[str, str]]) -> str:
        """The prompt that llama.cpp makes of the messages."""
        address = f"{self._server.address}/apply-template"
        answer = self._session.post(address, json={"messages": messages}, timeout=60)
        assert answer.ok, answer.text
        return str(answer.json()["prompt"])

    def __enter__(self) -> LlamaJinja:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._server.close()
