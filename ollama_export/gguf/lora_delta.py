"""A PEFT LoRA adapter as float32 deltas, one for each adapted weight: scale * B @ A (Hu et al., arXiv:2106.09685).

Reads adapter_config.json and adapter_model.safetensors with numpy alone. What isn't a plain LoRA of linear layers is
refused: nothing of an adapter may be left out silently.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from file_formats.safetensors import read_head
from lora_trainer.errors import ConversionError

if TYPE_CHECKING:
    import numpy as np

GROWN_TOLERANCE = 5e-6
"""Of a piece's norm. Seen: 3e-7 in pieces of 4,864 columns; a delta of a thousandth of the weight is 1e-3 off."""


@dataclass
class LoraDelta:
    """One weight's delta; `a` (rank, inputs) and `b` (outputs, rank) in float32."""

    a: np.ndarray
    b: np.ndarray
    scale: float
    merged: bool = False
    """Whether a row of it was asked for."""

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs), as the weight's."""
        return self.b.shape[0], self.a.shape[1]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop` of the delta, (stop - start, inputs) float32; computed as peft does."""
        import numpy as np

        self.merged = True
        delta: np.ndarray = self.b[start:stop] @ self.a
        delta *= np.float32(self.scale)
        return delta

    def added_to(self, weights: np.ndarray, start: int) -> np.ndarray:
        """Rows `start`… of a weight, (n, inputs) float32, with the delta added in place.

        What came out is held against the two factors by another way: along a fixed direction each row has to have
        grown by scale * B (A x). An adapter that went in twice, or not at all, would prove right in every prompt of
        its own GGUF. Raises ConversionError where it isn't so.
        """
        import numpy as np

        stop = start + len(weights)
        along = np.cos(0.7 * np.arange(weights.shape[-1])).astype(np.float32)
        before = weights @ along
        weights += self.rows(start, stop)
        grown = self.b[start:stop] @ (self.a @ along) * np.float32(self.scale)
        off = np.linalg.norm(weights @ along - before - grown)
        # sums of thousands of products in float32, of which each is rounded by 6e-8 of the weight's size
        if off > GROWN_TOLERANCE * (np.linalg.norm(weights) + np.linalg.norm(grown)):
            raise ConversionError("error.adapter.added", first=start, last=stop - 1, off=float(off))
        return weights

    def rotary_order(self, heads: int) -> LoraDelta:
        """The delta of a q or k projection, rows as llama.cpp keeps them (LlamaModel.permute of its converter)."""
        outputs, rank = self.b.shape
        b = self.b.reshape(heads, 2, outputs // heads // 2, rank).swapaxes(1, 2).reshape(outputs, rank)
        return replace(self, b=b.copy())


def read_adapter(folder: Path | None) -> dict[str, LoraDelta]:
    """Name of the base weight (`model.layers.0.self_attn.q_proj.weight`) -> its delta; no folder, no deltas.

    Raises ConversionError for an adapter that is broken or not a plain LoRA.
    """
    if folder is None:
        return {}
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        tensors = read_safetensors(folder / "adapter_model.safetensors")
    except (OSError, ValueError, KeyError) as error:
        raise ConversionError("error.adapter.broken", path=str(folder), reason=str(error)) from error
    unusual = [name for name in ("fan_in_fan_out", "use_dora", "modules_to_save", "lora_bias") if config.get(name)]
    if config.get("peft_type") != "LORA" or unusual:
        raise ConversionError("error.adapter.kind", path=str(folder), what=unusual or config.get("peft_type"))
    deltas: dict[str, LoraDelta] = {}
    for name in [n for n in tensors if n.endswith(".lora_A.weight")]:
        module = name.removesuffix(".lora_A.weight")
        a, b = tensors.pop(name), tensors.pop(module + ".lora_B.weight", None)
        module = module.removeprefix("base_model.model.")
        rank = _for_module(config.get("rank_pattern"), module, config.get("r"))
        alpha = _for_module(config.get("alpha_pattern"), module, config.get("lora_alpha"))
        if b is None or a.ndim != 2 or b.ndim != 2 or not a.shape[0] == b.shape[1] == rank:
            raise ConversionError("error.adapter.broken", path=str(folder), reason=name)
        scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
        deltas[module + ".weight"] = LoraDelta(a, b, scale)
    if tensors:
        raise ConversionError("error.adapter.kind", path=str(folder), what=sorted(tensors)[:3])
    return deltas


def _for_module(pattern: dict[str, Any] | None, module: str, default: Any) -> Any:
    # as peft's get_pattern_key: a key is the module's whole name or its end, and may be a regular expression
    for key, value in (pattern or {}).items():
        if re.match(rf"(.*\.)?({key})$", module):
            return value
    return default


def require_merged(deltas: dict[str, LoraDelta]) -> None:
    """Raise ConversionError when a delta did not find its weight."""
    left = sorted(name for name, delta in deltas.items() if not delta.merged)
    if left:
        raise ConversionError("error.adapter.unmerged", count=len(left), names=", ".join(left[:3]))


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a small safetensors file in float32; raises OSError, BrokenFile, KeyError for an unknown type."""
    import numpy as np

    data = np.frombuffer(path.read_bytes(), np.uint8)
    return {
        name: to_float32(data[entry.start : entry.end], entry.dtype).reshape(entry.shape)
        for name, entry in read_head(path).tensors.items()
    }


def to_float32(raw: np.ndarray, dtype: str) -> np.ndarray:
    """Bytes of a safetensors tensor (dtype F32, F16 or BF16; KeyError for others) as float32 numbers, exactly."""
    import numpy as np

    if dtype == "BF16":
        wide = raw.view(np.uint16).astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    return raw.view({"F32": np.float32, "F16": np.float16}[dtype]).astype(np.float32)
