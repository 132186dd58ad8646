"""The real program, started many times, its libraries loaded once: `python -m tests.support.preloaded`.

For each line on stdin, a JSON list of the command line's words, the file for the output and a watcher, the process
forks: the child is the program from there on, and may be killed like any other. When it has ended, and what it started
too, its exit code (negative: the signal) goes out on stdout. Its GGUFs are made by way of preloaded_export.py.
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

import psutil

from tests.support.preloaded_export import through
from tests.support.program import ROOT, Program
from tests.support.watchers import watched


class Preloaded:
    """Starts a Program's runs, one at a time; a context manager."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def __enter__(self) -> Preloaded:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.preloaded"],
            env={**self.program.environment, "PYTHONPATH": str(ROOT)},
            cwd=self.program.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait()

    def run(self, watcher: str, *flags: str) -> int:
        """The exit code of a watched run whose output goes where Program.start puts it."""
        return self.run_words(watcher, self.program.command(*flags)[2:])

    def run_words(self, watcher: str, words: Sequence[str]) -> int:
        """As `run`, with the whole command line."""
        output = self.program.folder / "output.txt"
        output.write_text("", encoding="utf-8")
        assert self._server.stdin and self._server.stdout
        self._server.stdin.write(json.dumps([list(words), str(output), watcher]) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


def _serve() -> None:
    # the address of a socket has to be short
    folder = tempfile.mkdtemp(prefix="preloaded-", dir="/tmp")
    address = str(Path(folder, "socket"))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        command = [sys.executable, "-P", "-m", "tests.support.preloaded_export"]
        exports = psutil.Popen(command, stdin=listening, stdout=subprocess.DEVNULL)
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
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        psutil.wait_procs(exports.children(), timeout=60)
        print(code, flush=True)  # noqa: T201
    exports.terminate()
    shutil.rmtree(folder)


if __name__ == "__main__":
    _serve()
