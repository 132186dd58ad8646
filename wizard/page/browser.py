"""Opening a page for the user, where that is sure to be seen: at a desk, not at the far end of a line."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_FAR = ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")
_DESKTOP = ("DISPLAY", "WAYLAND_DISPLAY")


def can_open(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> bool:
    """Whether a browser that is started here opens where the user sits: a terminal of this machine, with a desktop."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or any(environment.get(name) for name in _FAR):
        return False
    return platform in ("darwin", "win32") or any(environment.get(name) for name in _DESKTOP)


def open_in_browser(path: Path) -> bool:
    """Show a file in the user's browser; whether one was found."""
    import webbrowser

    try:
        return webbrowser.open(path.resolve().as_uri())
    except webbrowser.Error:
        return False
