"""A small realistic bug, and the tests that notice it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class Moved(Exception):
    """The place of a bug is not there any more, or there twice: whoever moved the code moves its bug along."""


@dataclass(frozen=True)
class Mutant:
    """One bug: in `file` (from the project's root) the text `old`, which stands there once, becomes `new`."""

    name: str
    """What goes wrong, as the user or the developer would say it."""
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    """Tests that fail then, as pytest names them."""

    def plant(self, root: Path) -> str:
        """Write the bug into the tree at `root`; returns what stood there. Raises Moved."""
        path = root / self.file
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        if before.count(self.old) != 1:
            raise Moved(f"{self.name}: {before.count(self.old)} places in {self.file} read\n{self.old}")
        if self.old == self.new:
            raise Moved(f"{self.name}: changes nothing")
        path.write_text(before.replace(self.old, self.new), encoding="utf-8", newline="\n")
        return before
