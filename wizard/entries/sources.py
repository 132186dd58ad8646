"""Where packages are loaded from: the CPU build of PyTorch, and the public mirrors that are offered by name."""

from __future__ import annotations

import os
import sys

CPU_TORCH = "https://download.pytorch.org/whl/cpu"
"""Builds without CUDA; what the usual index has for Linux brings 2.5 GB of it along."""
TORCH_MIRROR = "https://mirror.nju.edu.cn/pytorch/whl/cpu"
"""Of Nanjing University; the same builds."""
MIRROR = "https://pypi.tuna.tsinghua.edu.cn/simple"
"""Of Tsinghua University; all of PyPI."""
SECONDS = 4.0
"""An index that can be reached at all answers within these."""


def wants_cpu_build(platform: str = sys.platform) -> bool:
    """Whether this machine has no use for CUDA, and the user hasn't said where PyTorch comes from."""
    from pipeline.machine import card

    if os.environ.get("TORCH_INDEX_URL") or os.environ.get("PIP_NO_INDEX"):
        return False
    # with an AMD card too: what CUDA brings is of no use to it, and its own builds have an index of their own
    return platform == "linux" and card() in (None, "AMD")


def answers(index: str) -> bool:
    """Whether an index says within SECONDS that it has PyTorch."""
    import threading

    heard: list[bool] = []

    def ask() -> None:
        import http.client
        import ssl
        import urllib.request

        try:
            # as pip is told to
            trust = ssl.create_default_context(cafile=os.environ.get("PIP_CERT") or None)
            with urllib.request.urlopen(f"{index}/torch/", timeout=SECONDS, context=trust) as reply:
                heard.append(reply.status == 200)
        except (OSError, ValueError, http.client.HTTPException):
            return

    # a name that no server resolves may take far longer than any time limit of a connection
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS)
    return bool(heard) and heard[0]
