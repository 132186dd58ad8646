"""How this process was started: the words that its user would type to start it, or quick_start, again.

Read by old versions of Python, too; imports nothing but the standard library.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as in command_line.py
if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
SCRIPT = "TRAIN_TO_OLLAMA_SCRIPT"
"""quick_start.sh and quick_start.bat set it to their own path, as the user typed it."""
STARTED_WITH = "TRAIN_TO_OLLAMA_STARTED_WITH"
"""Set while one Python hands over to the next: the word that the user typed for the first one."""

took_over_from = os.environ.pop(STARTED_WITH, "")
"""The user's word for the Python that handed over to this process; empty where none did."""


def quick_start(*words: str, windows: bool = os.name == "nt") -> str:
    """A command that runs quick_start.sh, or for `windows` quick_start.bat, with `words`; the one that the user did."""
    script = os.environ.get(SCRIPT) or near(os.path.join(ROOT, "quick_start" + (".bat" if windows else ".sh")))  # noqa: PTH118
    if script.lower().endswith(".bat"):
        # PowerShell, too, wants to see that it is a path
        return line([script if "\\" in script or "/" in script else ".\\" + script, *words], posix=False)
    if os.sep not in script and "/" not in script:
        script = "./" + script  # a shell looks a bare name up in PATH
    path = os.path.join(ROOT, "quick_start.sh")  # noqa: PTH118
    return line(([] if os.access(path, os.X_OK) else ["bash"]) + [script, *words], posix=True)


def line(words: Sequence[str], *, posix: bool = os.name == "posix") -> str:
    """Words as one line of this user's shell."""
    if posix:
        import shlex

        return shlex.join(words)
    import subprocess

    return subprocess.list2cmdline(words)


def python() -> str:
    """The word that the user started Python with, as it is typed where this process was started."""
    typed = took_over_from or getattr(sys, "orig_argv", [sys.executable])[0] or sys.executable
    return near(typed) if os.path.isabs(typed) else typed  # noqa: PTH117


def near(path: str) -> str:
    """A path as it is typed where this process was started: relative where that lies below."""
    try:
        near = os.path.relpath(path)
    except ValueError:  # another drive of Windows
        return path
    return path if near.startswith(os.pardir) else near
