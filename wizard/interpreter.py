"""The Python that has what the program needs: this one, or that of `.venv` beside the program.

Needs nothing but the standard library, and is read by old versions of Python, too.
"""

from __future__ import annotations

import os
import sys

from wizard.started import ROOT, STARTED_WITH, took_over_from

TYPE_CHECKING = False  # as in command_line.py
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OLDEST = (3, 11)
"""pyproject.toml says the same."""
NEEDED = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "safetensors",
    "huggingface_hub",
    "filelock",
    "numpy",
    "psutil",
    "questionary",
    "rich",
    "requests",
    "gguf",
    "jinja2",
)
"""Packages without which no run gets to its end; others are missed by one kind of model or one flag alone."""
LAUNCHERS = ("RANK", "LOCAL_RANK", "TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION")
"""Each is set for processes that `accelerate launch` or torchrun starts."""


def lacking() -> list[str]:
    """The needed packages that this Python doesn't have; none of them is imported for that."""
    return [name for name in NEEDED if not any(_finds(finder, name) for finder in sys.meta_path)]


def _finds(finder: object, name: str) -> bool:
    find = getattr(finder, "find_spec", None)
    return name in sys.modules or (find is not None and find(name, None) is not None)


def own_python(platform: str = os.name) -> str | None:
    """The Python that the program has of its own: the one that TRAIN_TO_OLLAMA_PYTHON names, or that of `.venv`."""
    named = os.environ.get("TRAIN_TO_OLLAMA_PYTHON")
    parts = (".venv", "Scripts", "python.exe") if platform == "nt" else (".venv", "bin", "python")
    path = named or os.path.join(ROOT, *parts)  # noqa: PTH118
    return path if os.path.isfile(path) else None  # noqa: PTH113


def fault(argv: Sequence[str], platform: str = os.name) -> tuple[str, dict[str, str]] | None:
    """What keeps this Python from running the program, as the key of a text and its values; None where all is there.

    Where another Python has it, this process goes on as that one, with the flags `argv`, and doesn't come back.
    """
    version = ".".join(str(part) for part in sys.version_info[:2])
    missing = [] if sys.version_info < OLDEST else lacking()
    if sys.version_info >= OLDEST and not missing:
        return None
    python = own_python(platform)
    launched = any(name in os.environ for name in LAUNCHERS)
    if python is not None and not launched and not took_over_from:
        _go_on_with(python, argv, platform)
    names = ", ".join(missing[:3] + ["…"] * (len(missing) > 3))
    values = {"python": sys.executable, "version": version, "names": names, "folder": os.path.dirname(python or "")}  # noqa: PTH120
    if launched and python is not None:
        return "error.packages.launched", values
    if sys.version_info < OLDEST:
        return "error.packages.old_python", values
    return "error.packages.missing", values


def tell(key: str, values: Mapping[str, str], *, json: bool) -> int:
    """Say by plain means, as nothing else may be there, what `fault` has found: the exit code."""
    from wizard.screen import output
    from wizard.words import t

    if os.environ.get("RANK", "0") == "0":  # of several processes one speaks
        message = t(key, **values)
        output.write("\n✗ " + message + "\n", sys.stderr if json else sys.stdout)
        if json:
            output.write_json({"ok": False, "exit_code": 2, "error": {"key": key, "message": message}})
    return 2


def _go_on_with(python: str, argv: Sequence[str], platform: str) -> None:
    """Become `python` with this program; returns where that can't be started."""
    command = [python, os.path.join(ROOT, "train_to_ollama.py")] + list(argv)  # noqa: PTH118, RUF005
    typed = getattr(sys, "orig_argv", [sys.executable])[0]
    environment = dict(os.environ, **{STARTED_WITH: typed})
    try:
        if platform != "nt":
            os.execve(python, command, environment)
        sys.exit(wait_for(command, environment))
    except OSError:
        return


def wait_for(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run a command to its end and return its exit code, as a shell does; Ctrl-C is the command's affair."""
    import signal
    import subprocess

    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        code = subprocess.call(list(command), env=None if environment is None else dict(environment))
    finally:
        signal.signal(signal.SIGINT, before)
    return 128 - code if code < 0 else code
