"""Whether a model in Ollama is what a run published, by what /api/show tells of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_trainer.chat_format import ChatFormat
from ollama_export.gguf.serving_metadata import MARK
from ollama_export.template import ollama_template
from pipeline.run.history import Run
from pipeline.serving import SAMPLING_DEFAULTS, serving_in_ollama, serving_of

_DETAILS = ("family", "parameter_size", "quantization_level")
_UNTOLD = ("", "unknown", None)


def details_of(shown: Mapping[str, Any]) -> dict[str, Any]:
    """What a model in Ollama is of, whatever it is kept as: for a run's record."""
    return {name: (shown.get("details") or {}).get(name) for name in _DETAILS}


def differing(shown: Mapping[str, Any], weights: str | None, run: Run) -> list[str]:
    """The parts in which a model isn't what the run published, in the words of a Modelfile and of `ollama show`.

    `weights`: their sha256 (hex) in the store; what isn't told is other weights.
    """
    found = [] if weights in run.weights else ["FROM"]
    return found + differing_beside_weights(shown, run)


def differing_beside_weights(shown: Mapping[str, Any], run: Run) -> list[str]:
    """As `differing`, whatever the weights."""
    serving = serving_of(run.record)
    there, _ = serving_in_ollama(shown)
    chat_format = ChatFormat.from_json(run.record["chat_format"])
    wanted = serving.all_parameters(chat_format.ends)
    # what an older version has not written is nobody's change
    usual = {parameter for parameter in SAMPLING_DEFAULTS if parameter not in serving.parameters}
    parameters = {parameter: there.parameters.get(parameter) for parameter in {*wanted, *there.parameters}}
    found = {
        "TEMPLATE": not serving.keep_chat_template and shown.get("template") != ollama_template(chat_format),
        "SYSTEM": (shown.get("system") or "") != (serving.system_of(run.record["system"]) or ""),
        "PARAMETER": any(
            value != wanted.get(parameter) and not (parameter in usual and value is None)
            for parameter, value in parameters.items()
        ),
        "LICENSE": there.license != serving.license,
        "MESSAGE": there.messages != serving.messages,
    }
    before, now = run.record.get("ollama", {}).get("details", {}), details_of(shown)
    found |= {name: not {value, now[name]} & {*_UNTOLD} and value != now[name] for name, value in before.items()}
    return [word for word, differs in found.items() if differs]


def mark_of(adapter: Path) -> str:
    """What a GGUF with this adapter (a folder in PEFT's format) is known by; raises OSError."""
    with (adapter / "adapter_model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def marked(shown: Mapping[str, Any]) -> str | None:
    """The mark of a model in Ollama; None where it has none."""
    return (shown.get("model_info") or {}).get(MARK)


def may_have_converted(shown: Mapping[str, Any]) -> bool:
    """Whether the Ollama that tells this converts some models when it loads them: since 0.40, as it tells runners."""
    return "runner" in (shown.get("details") or {})
