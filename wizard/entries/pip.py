"""One run of pip: its text goes to a log, and how far it is can be told at any moment."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from wizard.entries.environment import CONSTRAINTS, FOLDER, UNFINISHED, python

LOG = FOLDER / "install.log"
ROOM = FOLDER / "downloads"
"""Where pip keeps what it is loading, on the disk that it is for; goes when pip ends."""
MEASURED_BYTES, MEASURED_SECONDS = 2_000_000, 10.0
"""How fast the network is, is judged after one of these."""
SLOW = 300_000
"""Bytes a second with which the whole installation takes half an hour and more."""
LOOK_SECONDS = 0.1

_UNITS = {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}
_FILE = re.compile(r"\s*(Downloading|Using cached|Processing) (.+?)(?: \(([\d.]+) (bytes|kB|MB|GB)\))?\s*$")
_PACKAGES = (".whl", ".tar.gz", ".zip")


class Run:
    """How far a run of pip is. Made by `install`."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self.process = process
        self.collected = 0
        """Packages that are wanted, as far as that is known."""
        self.files = 0
        """Packages that are loaded, the one that is being loaded among them."""
        self.current = ""
        """The package that is being loaded."""
        self.unpacks = False
        self.errors: list[str] = []
        self.lines: list[str] = []
        self._sizes: list[tuple[str, int]] = []
        self._began: float | None = None
        self._log = log
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            line = raw.decode("utf-8", errors="replace").rstrip()
            if line.startswith("Installing collected packages:"):
                # before pip begins with it; should it not come to that, its files say that they aren't whole
                UNFINISHED.touch()
                self.unpacks = True
            self._log.write(raw)
            self._log.flush()
            self._understand(line)

    def _understand(self, line: str) -> None:
        self.lines = [*self.lines[-4:], line] if line.strip() else self.lines
        if line.startswith("ERROR:"):
            self.errors.append(line)
        if line.startswith("Collecting "):
            self.collected += 1
        if (told := _FILE.match(line)) is None or not told[2].endswith(_PACKAGES):
            return
        size = int(float(told[3]) * _UNITS[told[4]]) if told[3] else 0
        if told[1] == "Processing":
            path = Path(told[2])
            size = path.stat().st_size if path.is_file() else 0
        self.files += 1
        self.current = re.split(r"[\\/]", told[2])[-1].partition("-")[0]
        self._sizes.append((told[1], size))

    @property
    def size(self) -> int:
        """Bytes of all packages that were named so far, the one that is being loaded whole."""
        return sum(size for _, size in self._sizes)

    @property
    def loaded(self) -> int:
        """Bytes that came over the network; while it runs, with the part of a package that is there."""
        told = sum(size for how, size in self._sizes if how == "Downloading")
        if self.process.returncode is not None or not told:
            return told
        return min(told, self._there())

    def _there(self) -> int:
        """Bytes of packages that lie in ROOM."""
        try:
            return sum(path.stat().st_size for path in ROOM.rglob("*") if path.name.endswith(_PACKAGES))
        except OSError:  # one that has just gone
            return 0

    def rate(self) -> float | None:
        """Bytes a second of its first megabytes; None as long as that can't be told, and where nothing is loaded."""
        if self.unpacks or not (done := self._there()):
            return None
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        seconds = now - self._began
        if done < MEASURED_BYTES and seconds < MEASURED_SECONDS:
            return None
        return done / max(seconds, LOOK_SECONDS)

    def end(self) -> int:
        """Wait for it: its exit code. What it unpacked is whole then, unless somebody killed it."""
        code = self.process.wait()
        self._reader.join()
        if code >= 0:
            UNFINISHED.unlink(missing_ok=True)
        return code

    def break_off(self) -> None:
        """End it where that leaves nothing half done; where it unpacks already, wait for that."""
        if not self.unpacks:
            self.process.terminate()
        self.end()


def install(arguments: Sequence[str], more: dict[str, str], watch: Callable[[Run], bool]) -> Run:
    """Run `pip install` with the constraints; `more` are variables on top.

    `watch` is called again and again while it works and says False to have it broken off. Ctrl-C is this process'
    affair alone: pip would leave half a package behind. Raises KeyboardInterrupt once pip has ended in order.
    """
    command = [python(), "-m", "pip", "install", "--no-user", "--disable-pip-version-check", "--no-input"]
    command += ["--progress-bar", "off", "-c", str(CONSTRAINTS), *arguments]
    ROOM.mkdir(exist_ok=True)
    room = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(ROOM))
    plain = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"}
    with LOG.open("ab") as log:
        log.write(("$ " + subprocess.list2cmdline(command) + "\n").encode())
        log.flush()
        run = None
        before = _hold_ctrl_c()
        try:
            run = Run(_start(command, {**os.environ, **room, **plain, **more}), log)
            _hear_ctrl_c(before)
            while run.process.poll() is None:
                if not watch(run):
                    run.break_off()
                time.sleep(LOOK_SECONDS)
            run.end()
        except KeyboardInterrupt:
            if run is not None:
                run.break_off()
            raise
        finally:
            _hear_ctrl_c(before)
            _clear_room()
    return run


def _start(command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows' way not to hear Ctrl-C
    return subprocess.Popen(
        command, env=environment, stdin=null, stdout=pipe, stderr=subprocess.STDOUT, creationflags=flags
    )


def _hold_ctrl_c() -> set[int] | None:
    """Let a Ctrl-C wait: a child that is started now never hears it, and this process hears it later."""
    import signal

    return signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if os.name == "posix" else None


def _hear_ctrl_c(before: set[int] | None) -> None:
    """Raises KeyboardInterrupt where one has come meanwhile."""
    import signal

    if before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _clear_room() -> None:
    import shutil

    shutil.rmtree(ROOM, ignore_errors=True)
