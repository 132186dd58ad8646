"""The points of a run at which something may strike, and what strikes there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

KINDS = {
    "kill": "SIGKILL of the program",
    "disk": "no space left on the disk, from there on",
    "server": "an Ollama that fails once",
}
FAILURES = ("error", "cut", "lost", "silence")
"""How Ollama fails: 500, a connection cut before the work, one cut after it, no answer at all."""


@dataclass(frozen=True)
class Point:
    """The `nth` time (from 1) that the program does `what`: a request (`POST /api/copy`) or a change of its files
    (`write runs/zzhua/1/run.json.new`). What is made up anew in each run, such as a digest, is a star.
    """

    what: str
    nth: int

    @property
    def is_request(self) -> bool:
        """Is it one to Ollama?"""
        return self.what.split()[1].startswith("/api/")

    @property
    def is_temporary(self) -> bool:
        """Is it below the temporary folder, where a killed program may leave what it likes?"""
        return self.what.split()[1].split("/")[0] == TEMPORARY

    @property
    def fills_the_disk(self) -> bool:
        """Does it need room on the disk?"""
        return self.what.split()[0] in ("write", "create")

    @property
    def has_a_middle(self) -> bool:
        """Is there something between its beginning and the next point: an answer that has come, an empty file?"""
        return self.is_request or self.what.split()[0] == "write"

    def __str__(self) -> str:
        return f"{self.what} #{self.nth}"


@dataclass(frozen=True)
class Strike:
    """What happens at a point: `how` is "before" or "after" for a kill, "full" for the disk, one of FAILURES."""

    kind: str
    point: Point
    how: str

    def __str__(self) -> str:
        return f"{self.kind} {self.how} {self.point}"


def strikes(points: Iterable[Point], kind: str) -> list[Strike]:
    """All that can happen to a run with these points, in order."""
    if kind == "kill":
        kept = (point for point in points if not point.is_temporary)
        return [Strike(kind, p, how) for p in kept for how in ("before", "after")[: 1 + p.has_a_middle]]
    if kind == "disk":
        return [Strike(kind, point, "full") for point in points if point.fills_the_disk]
    return [Strike(kind, point, how) for point in points if point.is_request for how in FAILURES]


TEMPORARY = "tmp"
"""The temporary folder's name, beside the home folder."""
MADE_UP = re.compile(
    r"sha256[:-][0-9a-f]{64}"  # digests
    r"|(?<=[-:])[0-9a-f]{12}\b"  # the rehearsal's model
    r"|(?<=train-to-ollama-)[0-9a-f]+-\d+(?=-)"  # whose a temporary folder is
    r"|(?<=tmp)[a-z0-9_]{8}|(?<=-)[a-z0-9_]{8}(?=/|$)"  # tempfile's names
)


def without_chance(text: str) -> str:
    """A path without what is made up anew in each run."""
    return MADE_UP.sub("*", text)
