"""A house with a few trained characters in it, in which the commands of the pages are run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.run.history import History
from tests.ollama_server.server import OllamaServer
from tests.support.preloaded import programs
from tests.support.program import Program
from tests.support.project import ROOT
from tests.support.terminal import Terminal
from tests.support.undecided import keep_points

ROOMS = ("file_formats", "lora_trainer", "ollama_export", "data_desk", "pipeline", "wizard", "tests", "bench")
FILES = ("train_to_ollama.py", "quick_start.sh", "pyproject.toml")


class House:
    """The program with its data and runs in a folder of its own, and an Ollama with the characters of the pages."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.program = Program(folder, url, rows=8)
        self.program.data = folder / "data"
        self.environment = {**self.program.environment, "TRAIN_TO_OLLAMA_PYTHON": sys.executable}

    @property
    def history(self) -> History:
        """The runs."""
        return self.program.history

    def run(self, *words: str, expect: int = 0) -> dict[str, Any]:
        """What a command of train_to_ollama.py tells as JSON."""
        return self.program.run_bare(*words, expect=expect)

    def interrupted(self, *words: str) -> None:
        """Begin a command, and stop it by Ctrl-C after its first step."""
        said = [self.folder / name for name in ("stdout.txt", "stderr.txt")]
        for path in said:
            path.write_text("", encoding="utf-8")
        how = {"environment": self.program.environment, "cwd": str(self.folder)}
        code = programs().run(words, stdout=said[0], stderr=said[1], watcher="stop StepDone:1 1", **how)
        assert code == 130, said[0].read_text(encoding="utf-8")

    def at_terminal(self, words: Sequence[str], **variables: str) -> Terminal:
        """Any command, at a terminal; the first word is a program."""
        start = f"import os; os.execvp({words[0]!r}, {list(words)!r})"
        return Terminal(["-c", start], environment={**self.environment, **variables}, cwd=self.folder)


def furnish(folder: Path) -> None:
    """The program's rooms, and dialogues where the pages have them."""
    for room in ROOMS:
        (folder / room).symlink_to(ROOT / room)
    for file in FILES:
        shutil.copy(ROOT / file, folder)
    for sample, name in (("wechat.txt", "聊天记录.txt"), ("card-v2.png", "卡片.png")):
        shutil.copy(ROOT / "tests" / "data" / "imports" / sample, folder / name)
    for name in ("data/demo", "data/fern"):
        shutil.copytree(folder / "data", folder / name, ignore=shutil.ignore_patterns("demo", "fern"))


@contextmanager
def furnished(folder: Path) -> Iterator[House]:
    """zzhua was trained twice, the second run with what it left along the way, and others once."""
    folder.mkdir()
    with OllamaServer(folder / "ollama") as server:
        house = House(folder, server.url)
        house.program.write_data(8)
        furnish(folder)
        base = ("--base_model", str(house.program.base), "--yes")
        house.run("--ollama_name", "zzhua", *base)
        house.run("--ollama_name", "zzhua", "--continue_train", "--add_epochs", "1.0")
        run = house.history.newest("zzhua")
        assert run is not None
        keep_points(run, round(1.5 * run.record["training"]["steps"] / run.plan.epochs))
        for name in ("linzhi", "helper"):
            house.run("--ollama_name", name, *base, "--epochs", "1")
        house.run("--ollama_name", "fern", *base, "--data_dir", "data/fern", "--epochs", "1")
        yield house


@contextmanager
def copy_of(house: House, folder: Path) -> Iterator[House]:
    """The same once more, to be changed; its base model stays where it is."""
    shutil.copytree(house.folder, folder, symlinks=True, ignore=shutil.ignore_patterns("基座*"))
    (folder / house.program.base.name).symlink_to(house.program.base)
    with OllamaServer(folder / "ollama") as server:
        copy = House.__new__(House)
        copy.folder = folder
        copy.program = Program.__new__(Program)
        copy.program.__dict__.update(house.program.__dict__)
        copy.program.folder = folder
        copy.program.history = History(folder / house.history.home.name)
        copy.program.data = folder / "data"
        changed = {"TRAIN_TO_OLLAMA_HOME": str(copy.history.home), "OLLAMA_HOST": server.url}
        copy.program.environment = {**house.program.environment, **changed}
        copy.environment = {**house.environment, **changed}
        yield copy
