"""The process that makes a GGUF, its libraries loaded once: `python -P -m tests.support.preloaded_export`.

The program starts `python -P -m ollama_export.gguf.worker` for each GGUF, which loads torch and the converter for
seconds. Here a small process stands in its place that hands its streams to this one, which forks for everybody who
connects to the socket that is its stdin. It can be killed as the real one can, and dies of what the real one dies of.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

WORKER = ["-P", "-m", "ollama_export.gguf.worker"]
WATCHER = "TEST_EXPORT_WATCHER"
"""The variable of the environment with a watcher's words (see watchers.py) for the process that makes the GGUF."""
STAND_IN = f"""
import os, socket, sys
with socket.socket(socket.AF_UNIX) as there:
    there.connect(sys.argv[1])
    socket.send_fds(there, [os.environ.get("{WATCHER}", "").encode() + b"\\n"], [0, 1, 2])
    code = there.recv(16)
os._exit(int(code or 1))
"""


def through(address: str) -> type[subprocess.Popen[Any]]:
    """A Popen that starts the stand-in where the program starts the process for a GGUF."""

    class Popen(subprocess.Popen[Any]):
        def __init__(self, args: Sequence[str], *more: Any, **options: Any) -> None:
            if list(args[1:]) == WORKER:
                args = [args[0], "-ISc", STAND_IN, address]
            super().__init__(args, *more, **options)

    return Popen


def _serve() -> None:
    # as export.py has it in the worker's environment
    os.environ["OMP_NUM_THREADS"] = "1"
    from ollama_export.gguf.converter import converter_folder, use_converter

    use_converter(converter_folder())
    import safetensors.torch  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401
    from conversion import get_model_class

    import ollama_export.gguf.worker  # noqa: F401

    get_model_class("Qwen2ForCausalLM")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=0) as listening:
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                _mind(connection)
            connection.close()


def _mind(connection: socket.socket) -> None:
    """Fork once more, tell the exit code, and kill the worker when whoever stands in its place is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    watcher, streams, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    worker = os.fork()
    if worker == 0:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        connection.close()
        _work(watcher.decode().strip())
    for stream in streams:
        os.close(stream)

    def kill_when_alone() -> None:
        connection.recv(1)
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)

    threading.Thread(target=kill_when_alone, daemon=True).start()
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    connection.send(str(code).encode())
    os._exit(0)


def _work(watcher: str) -> None:
    from ollama_export.gguf.worker import main
    from tests.support.watchers import watcher as watching

    if watcher:
        watching(watcher)
    code = main()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve()
