"""QLoRA: the frozen base model in 4 bits while training (Dettmers et al., 2023, arXiv:2305.14314), by bitsandbytes.

The adapter learns in float32 as ever, and the export adds it to the base model's own files: what 4 bits lose is never
published. Embeddings, norms and the output layer keep the run's type.
"""

from __future__ import annotations

import sys
from typing import Any

from lora_trainer.errors import UsageError

BYTES_PER_WEIGHT = 0.516
"""4 bits, a scale of 8 bits for each 64 of them, and one of 32 bits for each 256 scales (section 3 of the paper)."""


def check_four_bits(source: str, kind: str, *, device: str, device_name: str, dtype: str, sharded: bool) -> str:
    """bitsandbytes' version, after it has computed loss and gradient of a small layer on this device.

    `source` and `kind` ("folder" or "gguf") are the base model's, `device` ("cuda", "cpu", …) and `dtype` what would be
    trained on and in; `device_name` is what people call it. `sharded`: the weights are to be split among processes.

    Raises UsageError where the base model can't be loaded in 4 bits, or is to be split among devices, and where
    bitsandbytes is missing or fails.
    """
    if kind == "gguf":
        raise UsageError("error.qlora.gguf", source=source)
    if sharded:
        raise UsageError("error.qlora.sharded")
    from importlib.metadata import version

    from transformers.utils import is_bitsandbytes_available

    if not is_bitsandbytes_available():
        raise UsageError("error.qlora.not_installed", python=sys.executable)
    try:
        _try_out(device, dtype)
    except Exception as error:  # its libraries fail in many ways: CUDA versions, old cards, missing kernels
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        values = {"device": device_name, "python": sys.executable, "reason": reason[0]}
        raise UsageError("error.qlora.fails", **values) from error
    return version("bitsandbytes")


def _try_out(device: str, dtype: str) -> None:
    import torch
    from bitsandbytes.nn import Linear4bit

    layer = Linear4bit(64, 64, compute_dtype=getattr(torch, dtype), quant_type="nf4").to(device)
    rows = torch.ones(2, 64, dtype=getattr(torch, dtype), device=device, requires_grad=True)
    layer(rows).sum().backward()
    if rows.grad is None or not rows.grad.isfinite().all():
        raise ValueError("no gradient")


def quantization(dtype: str) -> Any:
    """What transformers is to do on loading: NF4 with doubly quantised scales, computing in `dtype`."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )


def keep_gradients(model: Any) -> None:
    """Keep a loaded model trainable after an evaluation.

    On processors with AVX512-BF16, bitsandbytes repacks weights when they are first used without a gradient, into a
    form that has none and computes in bfloat16.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
