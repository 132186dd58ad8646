"""Folders for temporary files, named after the process that they belong to: what a killed one left is known by it."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import tempfile
from pathlib import Path

_PREFIX = "train-to-ollama"


def own_folder(purpose: str) -> tempfile.TemporaryDirectory[str]:
    """A folder that goes with this process; `purpose`: a word that says what for."""
    prefix = f"{_PREFIX}-{_machine()}-{os.getpid()}-{purpose}-"
    return tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)


def left_by_the_dead() -> list[Path]:
    """The folders that processes of this user on this machine have left that aren't there any more."""
    import psutil  # type: ignore[import-untyped, unused-ignore]

    ours = re.compile(rf"{_PREFIX}-{_machine()}-([0-9]+)-[a-z]+-.+")
    found = []
    for path in sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}-*")):
        match = ours.fullmatch(path.name)
        if match and not path.is_symlink() and _is_mine(path) and not psutil.pid_exists(int(match[1])):
            found.append(path)
    return found


def _is_mine(path: Path) -> bool:
    try:
        return not hasattr(os, "getuid") or path.stat().st_uid == os.getuid()
    except OSError:
        return False


def _machine() -> str:
    """A folder for temporary files may be shared by machines, whose processes have numbers of their own."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]
