"""The real program, started many times, its libraries loaded once: `python -m tests.support.preloaded`.

For each line on stdin, a JSON list of the command line's words, the file for the output and a watcher, the process
forks: the child is the program from there on, and may be killed like any other. When it has ended, its exit code
(negative: the signal) goes out on stdout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

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
        output = self.program.folder / "output.txt"
        output.write_text("", encoding="utf-8")
        words = self.program.command(*flags)[2:]
        assert self._server.stdin and self._server.stdout
        self._server.stdin.write(json.dumps([words, str(output), watcher]) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


def _serve() -> None:
    import datasets  # noqa: F401
    import peft  # noqa: F401
    import transformers.trainer  # noqa: F401

    for line in iter(sys.stdin.readline, ""):
        words, output, watcher = json.loads(line)
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for number in (1, 2):
                os.dup2(os.open(Path(output), os.O_WRONLY | os.O_APPEND), number)
            sys.exit(watched(watcher, words))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    _serve()
