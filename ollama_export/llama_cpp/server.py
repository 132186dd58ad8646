"""llama.cpp's server in a process of its own: `python -m ollama_export.llama_cpp.server`, started by LlamaServer.

A process of its own, because now and then llama.cpp doesn't come back from unloading a model, and because it may abort:
a process can be killed, and dies alone. It ends by itself when whoever started it is gone, and is ended where it hangs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_UNUSABLE = 3
"""The process' exit code where xllamacpp can't be imported; 1 is llama.cpp's own refusal."""
ANSWER_SECONDS = 600.0
"""A prompt takes no longer, unless llama.cpp hangs, and a token no longer than a sixtieth of it."""


def load_seconds(size: int) -> float:
    """After how long the loading of `size` bytes hangs: two minutes, and what a drive of 10 MB/s takes to read them."""
    return 120 + size / 10e6


class Hangs(RuntimeError):
    """llama.cpp was ended because it took longer than `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer for {seconds:.0f} s")
        self.seconds = seconds


class Died(RuntimeError):
    """llama.cpp's process ended with `code` where it was not to; the error's text is what it said last."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said)
        self.code = code


class Unusable(RuntimeError):
    """llama.cpp is installed, but this machine can't load it."""


class LlamaServer:
    """A loaded GGUF behind llama-server's HTTP API, on a port of the loopback interface that the system chooses.

    `parameters`: names and values of xllamacpp's CommonParams; a dot leads to an inner one, an enumeration's value is
    given by its name. Raises RuntimeError with llama.cpp's reason when the GGUF doesn't load, Died when llama.cpp dies
    of it, Unusable when it doesn't load itself, and Hangs when that takes longer than `seconds` (by default as long as
    the GGUF's size allows).
    """

    def __init__(
        self, gguf: Path, *, adapters: Sequence[Path] = (), seconds: float | None = None, **parameters: Any
    ) -> None:
        root = str(Path(__file__).resolve().parents[2])
        environment = {**os.environ, "PYTHONUTF8": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
        asked = {"gguf": str(gguf), "adapters": [str(path) for path in adapters], "parameters": parameters}
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ollama_export.llama_cpp.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            bufsize=0,
            env=environment,
        )
        try:
            assert self._process.stdin and self._process.stdout
            # no argument: Windows has little room for a chat template there
            with suppress(OSError):  # where it died at once, the answer is missing
                self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            with self.within(load_seconds(gguf.stat().st_size) if seconds is None else seconds):
                address = self._process.stdout.readline().decode().strip()
            if not address:
                raise self.end()
        except BaseException:
            self.close()
            raise
        self.address = address
        """http://127.0.0.1:PORT"""

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Kill the process where the block takes longer; raises Hangs then, from whatever the block made of it."""
        ended = threading.Event()

        def kill() -> None:
            ended.set()
            self._process.kill()

        timer = threading.Timer(seconds, kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        except Exception as error:
            if ended.is_set():
                raise Hangs(seconds) from error
            raise
        else:
            if ended.is_set():
                raise Hangs(seconds)
        finally:
            timer.cancel()

    def end(self) -> RuntimeError:
        """Why the process ended that answers no more."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(60)
        code, said = self._process.poll(), self.last_words()
        if code == _UNUSABLE:
            return Unusable(said)
        return RuntimeError(said) if code in (None, 1) else Died(code, said)

    def last_words(self) -> str:
        """The first error that llama.cpp wrote of, or else the end of what it wrote."""
        self._said.seek(0)
        said = self._said.read().decode("utf-8", "replace")
        lines = [line.strip() for line in said.splitlines() if "error" in line.lower()]
        return lines[0] if lines else said.strip()[-300:]

    def close(self) -> None:
        """End the process; the memory goes back whole."""
        self._process.kill()
        with self._process:
            self._said.close()


def _serve(gguf: str, adapters: list[str], parameters: dict[str, Any]) -> None:
    import traceback

    try:
        import xllamacpp
    except ImportError:
        traceback.print_exc()
        sys.exit(_UNUSABLE)
    # Ctrl-C reaches both processes: whether the work ends is the other one's decision
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    params = xllamacpp.CommonParams()
    params.model.path = gguf
    params.lora_adapters = [_adapter(path) for path in adapters]
    for name, value in parameters.items():
        *inner, last = name.split(".")
        place = params
        for part in inner:
            place = getattr(place, part)
        kind = type(getattr(place, last))
        setattr(place, last, kind[value] if hasattr(kind, "__members__") else value)
    # whatever llama.cpp prints goes to stderr; stdout is ours
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        server = xllamacpp.Server(params)
    except Exception:
        traceback.print_exc()
        sys.exit(1)  # llama.cpp's log, written in a thread of its own, is written to its end
    out.write(server.listening_address + "\n")
    out.flush()
    sys.stdin.buffer.read()
    os._exit(0)


def _adapter(path: str) -> Any:
    import xllamacpp

    adapter = xllamacpp.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = path, 1.0
    return adapter


if __name__ == "__main__":
    _serve(**json.loads(sys.stdin.buffer.readline()))
