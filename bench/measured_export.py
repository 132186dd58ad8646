"""Programs of their own, an export among them: their seconds, start and imports included, and their peak memory.

Memory is the peak of all processes of the program together, sampled 20 times a second (Linux: proportional shares, so
that pages of two processes count once).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SCRIPT = """
import json, sys
from pathlib import Path
from ollama_export.gguf.export import export_gguf
given = json.loads(sys.argv[1])
base, adapter, out = (Path(given.pop(name)) for name in ("base", "adapter", "out"))
export_gguf(base, given.pop("kind"), adapter, out, **given)
"""


def export(base: Path, kind: str, adapter: Path, out: Path, **options: Any) -> tuple[float, int]:
    """(seconds, peak bytes) of one `export_gguf` with these options; ends the bench where it fails."""
    given = {"base": str(base), "kind": kind, "adapter": str(adapter), "out": str(out), **options}
    return watched([sys.executable, "-c", SCRIPT, json.dumps(given)])


def watched(command: Sequence[str]) -> tuple[float, int]:
    """(seconds, peak bytes) of `command`, whose words on stdout nobody hears; ends the bench where it fails."""
    import psutil

    start = time.perf_counter()
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL) as running:
        peak, process = [0], psutil.Process(running.pid)

        def watch() -> None:
            while running.poll() is None:
                try:
                    peak[0] = max(peak[0], memory_of(process))
                except psutil.Error:
                    return
                time.sleep(0.05)

        watcher = threading.Thread(target=watch)
        watcher.start()
        if running.wait():
            raise SystemExit(running.returncode)
        seconds = time.perf_counter() - start
        watcher.join()
    return seconds, peak[0]


def processor_seconds() -> float:
    """Seconds of processors at work for the programs that have run and ended; 0 on Windows, where nobody counts."""
    ended = os.times()
    return ended.children_user + ended.children_system


def memory_of(process: Any) -> int:
    """Bytes of physical memory that `process` and its children use."""
    import psutil

    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            used = one.memory_full_info()
            total += getattr(used, "pss", used.uss)
        except psutil.Error:
            continue
    return total


def copy_and_hash(path: Path) -> float:
    """Seconds of `cp` and `sha256sum` (elsewhere: shutil and hashlib) of `path`."""
    copy = path.with_suffix(".copy")
    start = time.perf_counter()
    if shutil.which("cp") and shutil.which("sha256sum"):
        subprocess.run(["cp", str(path), str(copy)], check=True)
        subprocess.run(["sha256sum", str(copy)], check=True, stdout=subprocess.DEVNULL)
    else:
        shutil.copyfile(path, copy)
        with copy.open("rb") as file:
            hashlib.file_digest(file, "sha256")
    seconds = time.perf_counter() - start
    copy.unlink()
    return seconds
