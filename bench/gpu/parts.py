"""Starting a part of the bench and hearing its results, until it ends, breaks off or takes too long."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]


class Part:
    """A process that does one part of the bench; iterating gives its results as they come.

    `failure` then says in one line how it ended, if not well; `told` is the end of what it wrote to stderr.
    """

    module = "bench.gpu.part"
    failure: str | None = None
    told = ""

    def __init__(
        self, kind: str, options: dict[str, Any], *, seconds: float, ends: float = inf, cards: str | None = None
    ) -> None:
        """`seconds`: the longest wait for a result; `ends`: when all has to be over, as time.monotonic() has it.

        `cards`: which of them are to be seen, as CUDA_VISIBLE_DEVICES has it; None for as many as here.
        """
        self.asked = json.dumps({"part": kind, **options})
        self.seconds, self.ends = seconds, ends
        self.environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        if cards is not None:
            self.environment["CUDA_VISIBLE_DEVICES"] = cards

    def _patience(self) -> float:
        return max(0.1, min(self.seconds, self.ends - time.monotonic()))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with tempfile.TemporaryFile() as errors:
            command = [sys.executable, "-m", self.module, self.asked]
            process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=errors)
            lines: queue.Queue[bytes] = queue.Queue()
            threading.Thread(target=_hear, args=(process.stdout, lines), daemon=True).start()
            patience = self._patience()
            try:
                while line := lines.get(timeout=patience):
                    yield json.loads(line)
                    patience = self._patience()
                code = process.wait(timeout=patience)
            except (queue.Empty, subprocess.TimeoutExpired):
                self.failure = f"no result within {patience:.0f} s"
            else:
                self.failure = f"ended with {code}" if code else None
            finally:
                _end(process)
            errors.seek(0)
            self.told = errors.read().decode(errors="replace").strip()[-4000:]
        if self.failure and self.failure.startswith("ended"):
            self.failure = f"{self.failure}: {self.told.splitlines()[-1][:300] if self.told else 'without a word'}"


def _hear(stream: IO[bytes] | None, lines: queue.Queue[bytes]) -> None:
    """Hand on each line, and at the end an empty one."""
    assert stream is not None
    for line in stream:
        lines.put(line)
    lines.put(b"")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it has started, if it hasn't ended by itself."""
    import psutil

    if process.poll() is None:
        every = [psutil.Process(process.pid)]
        every += every[0].children(recursive=True)
        for one in every:
            with suppress(psutil.NoSuchProcess):  # a child may end as soon as its parent has
                one.kill()
        process.wait()
