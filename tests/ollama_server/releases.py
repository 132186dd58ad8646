"""What the releases of Ollama do otherwise (ollama-contract.md, section 14)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """One line of releases: 0.33, the one from 0.34.1 on, or the one from 0.40 on."""

    name: str
    rewrites: bool
    """Every upload goes through llama-quantize, which may change it; `quantize` and `adapters` are taken."""
    repeats: int
    """Equal pieces in a row, more of which end an answer."""
    repetition_is_an_error: bool
    """Such an end is a status 500, or an error line in the stream; else the answer just ends."""
    copy_tells: bool
    """A copy is answered with a body."""
    tells_runners: bool
    """`details` of a model name the runner that it is for; a request may ask for one."""
    converts: bool
    """A model in a layout of older Ollamas' own is converted when it is loaded (see conversion.py)."""


RELEASES = {
    release.name: release
    for release in (
        Release("0.33", True, 30, False, False, False, False),
        Release("0.34", False, 100, True, False, False, False),
        Release("0.40", False, 100, True, True, True, True),
    )
}
OLDEST = RELEASES["0.33"]
REPEATED = "prediction aborted, token repeat limit reached"
NO_ADAPTERS = "LoRA adapters are no longer supported"
NO_QUANTIZATION = (
    "create-time quantization is only supported for safetensors imports; "
    "quantize GGUF models with llama.cpp tools before importing"
)
