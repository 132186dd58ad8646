"""The real program, started many times, its libraries loaded once: `python -m tests.support.preloaded`.

For each line on stdin, a JSON object (the command line's words, files for stdout and stderr, a watcher, and where they
are others than this process's, environment and folder), the process forks: the child is the program from there on, and
may be killed like any other. When it has ended, and what it started too, its exit code (negative: the signal) goes out
on stdout. Its GGUFs are made by way of preloaded_export.py.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tests.support.preloaded_export import through
from tests.support.project import ROOT
from tests.support.watchers import watched

if TYPE_CHECKING:
    from tests.support.program import Program

SECONDS = 600
"""No run of a test takes longer."""


class Programs:
    """Starts runs of the program, one at a time."""

    def __init__(self, environment: Mapping[str, str], folder: Path | None = None) -> None:
        self.environment = {**environment, "PYTHONPATH": str(ROOT)}
        self._lock = threading.Lock()
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.preloaded"],
            env=self.environment,
            cwd=folder or ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End the process that waits for orders."""
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait()

    def run(self, words: Sequence[str], *, stdout: Path, stderr: Path, watcher: str = "", **more: Any) -> int:
        """The exit code of a run whose output is added to two files; `more` are its environment and its folder (cwd).

        Raises subprocess.TimeoutExpired.
        """
        order = {"words": list(words), "stdout": str(stdout), "stderr": str(stderr), "watcher": watcher, **more}
        assert self._server.stdin and self._server.stdout
        with self._lock:
            self._server.stdin.write(json.dumps(order) + "\n")
            self._server.stdin.flush()
            if not select.select([self._server.stdout], [], [], SECONDS)[0]:
                self._server.kill()
                raise subprocess.TimeoutExpired(list(words), SECONDS)
            return int(self._server.stdout.readline())


@cache
def programs() -> Programs:
    """Those of this test process, from their first use to its end."""
    made = Programs({**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"})
    atexit.register(made.close)
    return made


class Preloaded:
    """Starts a Program's runs by a process of its own; a context manager."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def __enter__(self) -> Preloaded:
        self._programs = Programs(self.program.environment, self.program.folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._programs.close()

    def run(self, watcher: str, *flags: str) -> int:
        """The exit code of a watched run whose output goes where Program.start puts it."""
        return self.run_words(watcher, self.program.command(*flags)[2:])

    def run_words(self, watcher: str, words: Sequence[str]) -> int:
        """As `run`, with the whole command line."""
        output = self.program.folder / "output.txt"
        output.write_text("", encoding="utf-8")
        return self._programs.run(words, stdout=output, stderr=output, watcher=watcher)


def _load() -> None:
    """Import what runs import, and fill what they would each fill anew: nothing that starts a thread."""
    import datasets  # noqa: F401
    import numpy.ctypeslib  # noqa: F401
    import peft.tuners.lora.bnb
    import peft.utils.transformers_weight_conversion  # noqa: F401
    import rich.console
    import rich.table  # noqa: F401
    import transformers.models.qwen2.modeling_qwen2
    import transformers.models.qwen2.tokenization_qwen2  # noqa: F401
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    import lora_trainer.engine.fused_layers
    import lora_trainer.engine.step_trainer
    import lora_trainer.models.adapter
    import lora_trainer.models.tiny
    import lora_trainer.train  # noqa: F401
    import ollama_export.gguf.export
    import ollama_export.gguf.fingerprint  # noqa: F401
    import pipeline.checks.preflight
    import pipeline.run.ladder
    import pipeline.stages  # noqa: F401
    import train_to_ollama  # noqa: F401
    import wizard.command_line
    import wizard.run
    import wizard.work  # noqa: F401
    from pipeline.run.loss_curve import draw

    # it compiles a thousand patterns
    get_checkpoint_conversion_mapping("qwen2")
    # it seeks fonts, and reads them
    losses = [(1, 2.0), (2, 1.0)]
    draw({"losses": losses, "val_losses": losses, "best_step": 2}, 2, Path(os.devnull))


def _serve() -> None:
    # the address of a socket has to be short
    folder = tempfile.mkdtemp(prefix="preloaded-", dir="/tmp")
    address = str(Path(folder, "socket"))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        command = [sys.executable, "-P", "-m", "tests.support.preloaded_export"]
        exports = psutil.Popen(command, stdin=listening, stdout=subprocess.DEVNULL)
    _load()
    # what is loaded here stays: the children need not look through it for garbage, page by page
    gc.freeze()
    subprocess.Popen = through(address)  # type: ignore[misc]
    for line in iter(sys.stdin.readline, ""):
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for number, name in ((1, "stdout"), (2, "stderr")):
                os.dup2(os.open(Path(order[name]), os.O_WRONLY | os.O_APPEND), number)
            if "environment" in order:
                os.environ.clear()
                os.environ.update(order["environment"])
                tempfile.tempdir = None
            os.chdir(order.get("cwd", "."))
            code = watched(order["watcher"], order["words"])
            sys.stdout.flush()
            sys.stderr.flush()
            # tidying up all that is loaded would take longer than many a run
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        psutil.wait_procs(exports.children(), timeout=60)
        print(code, flush=True)  # noqa: T201
    exports.terminate()
    shutil.rmtree(folder)


if __name__ == "__main__":
    _serve()
