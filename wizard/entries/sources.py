"""Where packages are loaded from: the build of PyTorch that fits, and the public mirrors that are offered by name."""

from __future__ import annotations

import os
import sys

CPU_TORCH = "https://download.pytorch.org/whl/cpu"
"""Builds without CUDA; what the usual index has for Linux brings 2.5 GB of it along."""
TORCH_MIRROR = "https://mirror.nju.edu.cn/pytorch/whl/cpu"
"""Of Nanjing University; the same builds."""
CUDA_TORCH = "https://download.pytorch.org/whl/cu126"
"""Builds with CUDA, which the usual index has for Linux alone."""
CUDA_MIRROR = "https://mirror.nju.edu.cn/pytorch/whl/cu126"
NEW_CUDA_TORCH = "https://download.pytorch.org/whl/cu130"
"""For cards of compute capability 12 (RTX 50 series), which CUDA 12.6 has no code for."""
NEW_CUDA_MIRROR = "https://mirror.nju.edu.cn/pytorch/whl/cu130"
TORCH_MIRRORS = {CPU_TORCH: TORCH_MIRROR, CUDA_TORCH: CUDA_MIRROR, NEW_CUDA_TORCH: NEW_CUDA_MIRROR}
MIRROR = "https://pypi.tuna.tsinghua.edu.cn/simple"
"""Of Tsinghua University; all of PyPI."""
SECONDS = 4.0
"""An index that can be reached at all answers within these."""


def torch_index(platform: str = sys.platform) -> str:
    """The index of the build that this machine has use for; "" is the usual one, or the one that the user has named."""
    from pipeline.machine import card

    if os.environ.get("TORCH_INDEX_URL") or os.environ.get("PIP_NO_INDEX"):
        return ""
    named = card()
    if platform == "linux":
        # with an AMD card too: what CUDA brings is of no use to it, and its own builds have an index of their own
        return CPU_TORCH if named in (None, "AMD") else ""
    if platform == "win32" and named is not None:
        return NEW_CUDA_TORCH if _compute_capability() >= 12 else CUDA_TORCH
    return ""


def _compute_capability() -> float:
    """Of the newest NVIDIA card, as its driver says; 0 where it says none."""
    import subprocess

    try:
        asked = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
        done = subprocess.run(asked, capture_output=True, encoding="utf-8", errors="replace", timeout=30, check=False)
        return max(map(float, done.stdout.split()), default=0.0)
    except (OSError, ValueError, subprocess.TimeoutExpired):  # of drivers before 2021, too
        return 0.0


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
