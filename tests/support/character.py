"""A character that was trained once, in a home and an Ollama of its own, for conversations about it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ollama_fixture import TestOllama, running_ollama
from tests.support.program import Program
from tests.support.project import ROOT
from tests.support.terminal import Terminal
from wizard.screen.layout import cells


class Character:
    """`name` stands in Ollama after one training of 1.0 epochs on 24 dialogues; `talk` begins a conversation."""

    def __init__(self, folder: Path, server: TestOllama) -> None:
        self.server, self.name = server, server.name("zzhua")
        self.program = Program(folder, server.url)

    def train(self, *flags: str) -> None:
        """Train it, or another one that the flags name."""
        self.program.run("--ollama_name", self.name, *flags)

    def talk(self, *flags: str, columns: int = 80, language: str = "zh", **environment: str) -> Terminal:
        """The program in a terminal, started in the test's folder."""
        said = {**self.program.environment, "TRAIN_TO_OLLAMA_LANG": language, **environment}
        command = [str(ROOT / "train_to_ollama.py"), *flags]
        return Terminal(command, columns=columns, environment=said, cwd=self.program.folder)

    def about(self, *flags: str, **how: object) -> Terminal:
        """A conversation about the character."""
        return self.talk("--ollama_name", self.name, *flags, **how)  # type: ignore[arg-type]


@contextmanager
def trained(folder: Path) -> Iterator[Character]:
    """The character, and its Ollama as long as it is needed."""
    with running_ollama() as server:
        character = Character(folder, server)
        character.train()
        look_at_machine(character.program)
        yield character


def look_at_machine(program: Program) -> None:
    """Let it be known what this machine has, which every conversation would find out again for as long as it lasts."""
    code = "from pipeline.offers.machine import look_at_machine; look_at_machine().wait(300)"
    subprocess.run([sys.executable, "-c", code], env=program.environment, cwd=ROOT, check=True)


def command_on(terminal: Terminal) -> list[str]:
    """The words of the last command that stands on the screen below a plan, but for how Python is started."""
    import shlex

    text = terminal.everything
    at = max(text.rfind("命令："), text.rfind("command:"))
    # a terminal breaks it where its line ends
    lines = text[at:].split("\n? ")[0].split("\n")
    whole = ""
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        gap = terminal.columns - cells(line) if after else 0
        # a wide character that doesn't fit any more leaves the last column free
        whole += line if gap == 1 and cells(after[0]) == 2 else line + " " * gap
    words = shlex.split(whole)
    return words[next(i for i, word in enumerate(words) if word.endswith("train_to_ollama.py")) + 1 :]
