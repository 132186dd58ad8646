"""A process of its own, `python -m pipeline.offers.measure`: the device, and how fast it multiplies, as JSON."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import Any

SIZES = (896, 2048, 1536, 3584)
"""Hidden sizes of the recommended base models; the speed changes little between neighbours."""
_COLUMNS = 4096
"""Of the other matrix: the feed-forward parts are wider, which makes no product faster."""
_SECONDS = 1.0
"""That all products may take."""
_POSITIONS = {"cpu": 256, "mps": 2048, "cuda": 4096}
"""Rows of the products, as a step has some hundreds or thousands of tokens."""


def main() -> None:
    """Write what `machine.MachineLook` reads."""
    from lora_trainer.engine.hardware import detect

    hardware = detect()
    speeds = measure(hardware.device, hardware.dtype)
    sys.stdout.buffer.write(json.dumps({"hardware": asdict(hardware), "speeds": speeds}).encode())


def measure(device: str, dtype: str) -> dict[int, float]:
    """Hidden size -> floating point operations a second, of as many sizes as there is time for, the first one always.

    A layer's product with its transposed one, as a step has them forwards and backwards: the best of some rounds, since
    what is kept is to hold when nothing else is running.
    """
    import torch

    speeds: dict[int, float] = {}
    end = time.perf_counter() + _SECONDS
    for hidden in SIZES:
        kind: Any = {"device": device, "dtype": getattr(torch, dtype)}
        x, w = torch.randn(_POSITIONS[device], hidden, **kind), torch.randn(hidden, _COLUMNS, **kind)
        taken: list[float] = []
        # the first round makes the libraries ready
        while len(taken) < 2 or (len(taken) < 6 and time.perf_counter() < end):
            began = time.perf_counter()
            (x @ w) @ w.T
            if device != "cpu":
                getattr(torch, device).synchronize()
            taken.append(time.perf_counter() - began)
        speeds[hidden] = 4 * x.shape[0] * hidden * _COLUMNS / min(taken[1:])
        if time.perf_counter() > end:
            break
    return speeds


if __name__ == "__main__":
    main()
