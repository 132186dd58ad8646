"""One thing that takes room and can be removed: what it is, what removing it gives back, and whether it is proposed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Thing:
    """The text `clean.<kind>` says what it is, `clean.<kind>.lost` what is lost with it."""

    kind: str
    name: str
    """The model that it belongs to; of a base model that one's, else empty."""
    bytes: int
    """About: what others need as well isn't counted."""
    percent: int = 0
    """How much of a training is kept, 0 to 100."""
    runs: tuple[int, ...] = ()
    """Numbers of the runs that it is of."""
    tags: tuple[tuple[str, str], ...] = ()
    """Models in Ollama that it is: name and manifest's digest (hex)."""
    paths: tuple[Path, ...] = ()
    """Files and folders that it is, where they aren't known by the run."""
    proposed: bool = False
    """Ticked before anybody has looked."""
    safe: bool = False
    """A leftover that nobody can miss: whoever made it is dead."""

    def to_json(self) -> dict[str, Any]:
        """What `--json` tells of it."""
        return {
            "kind": self.kind,
            "name": self.name or None,
            "bytes": self.bytes,
            "runs": list(self.runs),
            "tags": [name for name, _ in self.tags],
            "paths": [str(path) for path in self.paths],
            "proposed": self.proposed,
            "safe": self.safe,
        }


def size_of(paths: Iterable[Path]) -> int:
    """Bytes of files and of all that is below folders; no link is followed, what has two names counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    left = [os.fspath(path) for path in paths]
    while left:
        place = left.pop()
        try:
            status = os.lstat(place)
            if stat.S_ISDIR(status.st_mode):
                left += [entry.path for entry in os.scandir(place)]
                continue
        except OSError:  # gone by now, or nobody may look
            continue
        if (status.st_dev, status.st_ino) not in seen or not status.st_ino:
            seen.add((status.st_dev, status.st_ino))
            total += status.st_size
    return total
