"""Jinja chat templates rendered by llama.cpp itself, as Ollama's other path does."""

from __future__ import annotations

from pathlib import Path

import requests


class LlamaJinja:
    """One llama.cpp server with `chat_template` in place of the GGUF's own; a context manager."""

    def __init__(self, gguf: Path, chat_template: str) -> None:
        import xllamacpp

        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(gguf)
        parameters.chat_template = chat_template
        parameters.use_jinja = True
        parameters.n_ctx, parameters.n_parallel, parameters.n_gpu_layers = 64, 1, 0
        parameters.warmup, parameters.verbosity = False, -1
        self._server = xllamacpp.Server(parameters)
        self._session = requests.Session()
        self._session.trust_env = False

    def render(self, messages: list[dict[str, str]]) -> str:
        """The prompt that llama.cpp makes of the messages."""
        address = f"{self._server.listening_address}/apply-template"
        answer = self._session.post(address, json={"messages": messages}, timeout=60)
        assert answer.ok, answer.text
        return str(answer.json()["prompt"])

    def __enter__(self) -> LlamaJinja:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        del self._server
