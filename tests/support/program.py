"""The real program as a child process, in a home of its own, for tests of whole runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.run.history import History, Run
from tests.support.preloaded import SECONDS, programs
from tests.support.project import ROOT
from tests.support.tiny import make_speaker

# Nobody listens on the discard port.
NO_OLLAMA = "127.0.0.1:9"
READ_LATE = {
    "TRAIN_TO_OLLAMA_HOME",
    "TRAIN_TO_OLLAMA_LANG",
    "OLLAMA_HOST",
    "TEST_OLLAMA_HOST",
    "TMPDIR",
    "PYTEST_CURRENT_TEST",
}
"""Variables of the environment that are looked at when they are needed."""


class Program:
    """`train_to_ollama.py` with runs, data and a tiny base model under `folder`, and the Ollama at `url`."""

    def __init__(self, folder: Path, url: str = NO_OLLAMA, rows: int = 24) -> None:
        self.folder = folder
        self.history = History(folder / "运行 runs")
        self.data = folder / "数据 data"
        self.base = make_speaker(folder / "基座 base")
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in ("OLLAMA_HOST", "TEST_OLLAMA_HOST")},
            "TRAIN_TO_OLLAMA_HOME": str(self.history.home),
            "TRAIN_TO_OLLAMA_LANG": "en",
            "OLLAMA_HOST": url,
            "HF_HUB_OFFLINE": "1",
            "PYTHONUTF8": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        self.gate = folder / "gate"
        self.write_data(rows)

    def write_data(self, rows: int, mark: str = "") -> None:
        """`rows` training dialogues, some of several turns, and four validation dialogues."""
        self.data.mkdir(exist_ok=True)
        for name, count in (("train", rows), ("val", 4)):
            lines = [json.dumps({"messages": _dialogue(f"{name}{mark}", i)}, ensure_ascii=False) for i in range(count)]
            (self.data / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def command(self, *flags: str) -> list[str]:
        """The command line; `flags` come last and so win. One epoch where they don't speak of epochs."""
        given = ["--ollama_name", "zzhua", "--base_model", str(self.base), "--data_dir", str(self.data)]
        own = {
            "--epochs",
            "--add_epochs",
            "--ladder",
            "--register_only",
            "--rollback",
            "--verify",
            "--history",
            "--resume",
        }
        epochs = [] if own & set(flags) else ["--epochs", "1"]
        return [sys.executable, str(ROOT / "train_to_ollama.py"), *given, *epochs, *flags]

    def held(self, moment: str, *flags: str) -> list[str]:
        """The command line of a run that waits at its first event `KIND:VALUE` while `gate` is there."""
        return [sys.executable, "-m", "tests.support.watchers", f"hold {moment} {self.gate}", *self.command(*flags)[2:]]

    def start(self, *flags: str) -> subprocess.Popen[str]:
        """Begin a run without a terminal; its output goes to `output.txt`."""
        return self.begin(self.command(*flags))

    def start_up_to(self, moment: str, *flags: str) -> subprocess.Popen[str]:
        """As `start`; returns when the run waits at that moment. Removing `gate` lets it go on."""
        process = self.begin(self.held(moment, *flags))
        wait_for(self.gate.exists, process)
        return process

    def begin(self, command: Sequence[str]) -> subprocess.Popen[str]:
        """Start a program as `start` does."""
        with (self.folder / "output.txt").open("w", encoding="utf-8") as output:
            return subprocess.Popen(
                command,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def run(self, *flags: str, expect: int = 0, launcher: Sequence[str] = ()) -> dict[str, Any]:
        """A whole run with --json; what it printed. Fails where the exit code is another than expected.

        `launcher` are the words that start Python on several processes.
        """
        command = self.command(*flags, "--json")
        done = self._ended([*launcher, *command[1:]] if launcher else command, self.environment)
        assert done.returncode == expect, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        lines = done.stdout.splitlines()
        assert len(lines) == 1, done.stdout
        return {**json.loads(lines[0]), "shown": done.stderr}

    def run_bare(
        self, *flags: str, expect: int | tuple[int, ...] = 0, environment: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """As `run`, with no flags but these: no base model, no data; several exit codes may be expected."""
        command = [sys.executable, str(ROOT / "train_to_ollama.py"), *flags, "--json"]
        done = self._ended(command, {**self.environment, **(environment or {})})
        codes = expect if isinstance(expect, tuple) else (expect,)
        assert done.returncode in codes, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return {**json.loads(done.stdout), "shown": done.stderr}

    def _ended(self, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """What a command without a terminal has come to."""
        program = [sys.executable, str(ROOT / "train_to_ollama.py")]
        if command[:2] == program and "--llama_cpp" not in command and is_usual(environment):
            said = [self.folder / name for name in ("stdout.txt", "stderr.txt")]
            for path in said:
                path.write_text("", encoding="utf-8")
            whole = {"environment": environment, "cwd": str(self.folder)}
            code = programs().run(command[2:], stdout=said[0], stderr=said[1], **whole)
            texts = [path.read_text(encoding="utf-8") for path in said]
            for path in said:
                path.unlink()
            return subprocess.CompletedProcess(command, code, *texts)
        return subprocess.run(
            command,
            env=environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=SECONDS,
        )

    def output(self) -> str:
        """What the run begun last has written so far."""
        return (self.folder / "output.txt").read_text(encoding="utf-8", errors="replace")

    @property
    def newest(self) -> Run | None:
        """The run begun last, as its record has it now."""
        return self.history.newest("zzhua")


def is_usual(environment: Mapping[str, str]) -> bool:
    """Whether a run in this environment may be one of those whose libraries are loaded already.

    Some read a variable when they are loaded, so no other may be different.
    """
    if sys.platform == "win32":
        return False
    there = programs().environment
    differ = {name for name in {*there, *environment} if there.get(name) != environment.get(name)}
    return differ <= READ_LATE


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str], seconds: float = 300) -> None:
    """Wait until a condition holds, while a process runs."""
    end = time.monotonic() + seconds
    while True:
        # asked first: what the process did last still counts
        ended = process.poll() is not None
        if condition():
            return
        assert not ended, f"ended with {process.returncode}"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def _dialogue(name: str, number: int) -> list[dict[str, str]]:
    turns = [
        {"role": "system", "content": "你是林栀。"},
        {"role": "user", "content": f"{name} 第{number}问：在干嘛？"},
        {"role": "assistant", "content": f"（低头）在看书……{number}"},
    ]
    if number % 4 == 0:
        more = [("user", "什么书？"), ("assistant", f"（递过去）诗集 {number}。")]
        turns += [{"role": role, "content": content} for role, content in more]
    return turns
