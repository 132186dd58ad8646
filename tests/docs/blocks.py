"""The pages that people read, the blocks of code in them, and the commands in those, as bash reads them."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.project import ROOT

PAGES = (
    *(ROOT / name for name in ("README.md", "README.en.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
_RECORDER = """#!/bin/bash
# Takes down the words of a command and the variables that are set for it; nothing but what is built into bash.
# Each has a file of its own, since those of a pipe run at once; its name says how many were there before.
shopt -s nullglob
before=("$RECORDS"/*)
{
  for name in $(compgen -e); do
    case $name in PWD | OLDPWD | SHLVL | _ | RECORDS | PATH) ;; *) printf '%s=%s\\0' "$name" "${!name}" ;; esac
  done
  printf '\\x1f\\0%s\\0' "$0"
  if [ $# -gt 0 ]; then printf '%s\\0' "$@"; fi
} >"$RECORDS/${#before[@]}-$BASHPID"
"""
_PREFACE = """
cd() { :; }
source() { :; }
command_not_found_handle() { BASH_ARGV0=$1; shift; . "$RECORDS.sh"; }
"""


@dataclass(frozen=True)
class Block:
    """A block between two fences: what is in it, in which language, and the line of its page that it begins at."""

    page: str
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """The words of a command, and the variables that stand before it."""

    words: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return " ".join([*(f"{name}={value}" for name, value in self.environment), *self.words])


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, also those in lists."""
    found, opened, lines = [], None, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = re.match(r"\s*```\s*(\S*)\s*$", line)
        if fence and opened is None:
            opened, lines = (number, fence[1]), []
        elif fence and opened is not None:
            found.append(Block(page.relative_to(ROOT).as_posix(), *opened, "\n".join(lines)))
            opened = None
        elif opened is not None:
            lines.append(line)
    assert opened is None, f"{page}: the block of line {opened} has no end"
    return found


@cache
def commands_of(text: str) -> tuple[Command, ...]:
    """The commands of a piece of shell, in the order in which bash comes to them: loops are gone through.

    Nothing of it is done: bash finds no program at all, but one that takes down what it was called with.
    """
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder, "records")
        for name in ("records.sh", "quick_start.sh"):
            path = Path(folder, name)
            path.write_text(_RECORDER, encoding="utf-8")
            path.chmod(0o755)
        records.mkdir()
        done = subprocess.run(
            ["/bin/bash", "-c", _PREFACE + text],
            cwd=folder,
            env={"PATH": "/nonexistent", "RECORDS": str(records), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        assert not done.stderr, f"bash says of a block: {done.stderr}\n{text}"
        # a number of those before, and of the process
        order = sorted(records.iterdir(), key=lambda path: [int(number) for number in path.name.split("-")])
        taken = [path.read_text(encoding="utf-8") for path in order]
    found = []
    for whole in taken:
        environment, _, words = whole.partition("\x1f\0")
        pairs = [entry.partition("=")[::2] for entry in environment.split("\0")[:-1]]
        pairs = [(name, value) for name, value in pairs if name != "LC_ALL"]
        found.append(Command(tuple(words.split("\0")[:-1]), tuple(pairs)))
    return tuple(found)
