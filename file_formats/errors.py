"""What is wrong with a file, for whoever says it to a person in words of its own."""

from __future__ import annotations

from pathlib import Path


class BrokenFile(ValueError):
    """A file that is not whole, or not of its format; `reason` says what was found in place of what is wanted."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
