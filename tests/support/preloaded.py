"""The real program, started many times, its libraries loaded once: `python -m tests.support.preloaded SOCKET`.

For each line on stdin, a JSON list of the command line's words, the file for the output and a watcher, the process
forks: the child is the program from there on, and may be killed like any other. When it has ended, its exit code
(negative: the signal) goes out on stdout. Processes that make GGUFs come from preloaded_export.py, by way of SOCKET.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.support.preloaded_export import through
from tests.support.program import ROOT, Program
from tests.support.watchers import watched


class Preloaded:
    """Starts a Program's runs, one at a time; a context manager."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def __enter__(self) -> Preloaded:
        # the address of a socket has to be short
        self._folder = tempfile.mkdtemp(prefix="preloaded-")
        address = str(Path(self._folder, "socket"))
        options: dict[str, Any] = {
            "env": {**self.program.environment, "PYTHONPATH": str(ROOT)},
            "cwd": self.program.folder,
        }
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(address)
            listening.listen()
            exports = [sys.executable, "-P", "-m", "tests.support.preloaded_export"]
            self._exports = subprocess.Popen(exports, **options, stdin=listening)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.preloaded", address],
            **options,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait()
        self._exports.terminate()
        self._exports.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, watcher: str, *flags: str) -> int:
        """The exit code of a watched run whose output goes where Program.start puts it."""
        return self.run_words(watcher, self.program.command(*flags)[2:])

    def run_words(self, watcher: str, words: Sequence[str]) -> int:
        """As `run`, with the whole command line; what the program has started has ended then, too."""
        output = self.program.folder / "output.txt"
        output.write_text("", encoding="utf-8")
        assert self._server.stdin and self._server.stdout
        self._server.stdin.write(json.dumps([list(words), str(output), watcher]) + "\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        psutil.wait_procs(psutil.Process(self._exports.pid).children(), timeout=60)
        return code


def _serve(address: str) -> None:
    import datasets  # noqa: F401
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401
    import peft.tuners.lora.bnb  # noqa: F401
    import rich.table  # noqa: F401
    import transformers.models.qwen2.modeling_qwen2  # noqa: F401

    import lora_trainer.engine.step_trainer  # noqa: F401
    import ollama_export.gguf.export  # noqa: F401
    import pipeline.checks.preflight
    import pipeline.stages  # noqa: F401
    import wizard.run  # noqa: F401

    # what is loaded here stays: the children need not look through it for garbage, page by page
    gc.freeze()
    subprocess.Popen = through(address)  # type: ignore[misc]
    for line in iter(sys.stdin.readline, ""):
        words, output, watcher = json.loads(line)
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for number in (1, 2):
                os.dup2(os.open(Path(output), os.O_WRONLY | os.O_APPEND), number)
            code = watched(watcher, words)
            sys.stdout.flush()
            sys.stderr.flush()
            # tidying up all that is loaded would take longer than many a run
            os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    _serve(*sys.argv[1:])
