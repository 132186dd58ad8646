"""quick_start.bat run by wine's cmd, Pythons of ours in its way: `python -m tests.under_wine`.

By hand: it takes wine (Debian: wine64) and a C compiler for Windows (`pip install ziglang`). Prints what each case came
to and ends with 1 where one is not as it should be. Wine's cmd is not Windows' own: what passes here may still fail
there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.project import ROOT

SOURCE = Path(__file__).with_name("python.c")
ENTRIES = ["-m", "wizard.entries"]


@dataclass(frozen=True)
class Case:
    """A way to start the script, and what should come of it."""

    name: str
    words: tuple[str, ...] = ()
    pythons: dict[str, str] = field(default_factory=dict)
    """Program -> its versions."""
    variables: dict[str, str] = field(default_factory=dict)
    own: str = ""
    """The version of the Python in .venv; none where there is no such folder."""
    unfinished: bool = False
    code: int = 0
    calls: dict[str, Any] = field(default_factory=dict)
    """What the Python is to tell; empty where none is to be started."""
    says: str = ""


CASES = (
    Case("no Python at all", ("demo",), code=2, says="python.org"),
    Case("no Python, in English", ("demo",), variables={"TRAIN_TO_OLLAMA_LANG": "en"}, code=2, says="Python 3.11"),
    Case("one that is too old", ("9",), {"python": "3.9"}, code=2, says="python.org"),
    Case("the newest that py has", ("9",), {"py": "3.9 3.11 3.12"}, calls={"program": "py", "version": "3.12"}),
    Case(
        "py has none that fits",
        ("9",),
        {"py": "3.14", "python": "3.13"},
        calls={"program": "python", "version": "3.13"},
    ),
    Case(
        "a space and Chinese in an argument",
        ("1", "--data_dir", "我的 数据", "--system", "你是林栀"),
        {"python": "3.11"},
        calls={"words": [*ENTRIES, "1", "--data_dir", "我的 数据", "--system", "你是林栀"]},
    ),
    Case("the exit code goes on", ("3",), {"python": "3.12"}, {"FAKE_CODE": "7"}, code=7, calls={"program": "python"}),
    Case("nothing behind it", (), {"python": "3.12"}, calls={"words": ENTRIES}),
    Case("the environment's own", ("9",), {"py": "3.13"}, own="3.12", calls={"program": "python", "version": "3.12"}),
    Case("an environment half made", ("9",), {"py": "3.13"}, own="3.12", unfinished=True, calls={"program": "py"}),
    Case("an environment too old", ("9",), {"py": "3.13"}, own="3.10", calls={"program": "py", "version": "3.13"}),
    Case(
        "a PYTHON that is named",
        ("9",),
        {"py": "3.13", "mine": "3.11"},
        {"PYTHON": "mine"},
        calls={"program": "mine", "version": "3.11"},
    ),
    Case(
        "a PYTHON that doesn't fit",
        ("9",),
        {"py": "3.13", "mine": "3.9"},
        {"PYTHON": "mine"},
        calls={"program": "py", "unfit": "mine"},
    ),
    Case("one without venv", ("9",), {"python": "3.12"}, {"FAKE_LAME": "1"}, calls={"program": "python"}),
)


def main() -> int:
    """Run all cases; 1 where one fails."""
    wine = shutil.which("wine")
    if wine is None:
        print("wine is not installed: apt-get install wine")  # noqa: T201
        return 2
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "fake.exe"
        build(program)
        for case in CASES:
            wrong = list(faults(case, Path(folder), program, wine))
            failed += bool(wrong)
            print("✗" if wrong else "✓", case.name, *wrong, sep="  ", flush=True)  # noqa: T201
    return int(failed > 0)


def build(program: Path) -> None:
    """The program that stands in for a Python, for Windows."""
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-windows-gnu", "-municode"]
    subprocess.run([*compiler, "-o", str(program), str(SOURCE)], check=True)


def faults(case: Case, folder: Path, program: Path, wine: str) -> Iterator[str]:
    """What of a case is not as it should be."""
    with tempfile.TemporaryDirectory(dir=folder) as made:
        checkout = Path(made) / "我的模型"
        found = Path(made) / "bin"
        found.mkdir()
        (checkout / "wizard" / "entries").mkdir(parents=True)
        (checkout / "wizard" / "entries" / "__main__.py").touch()
        shutil.copy(ROOT / "quick_start.bat", checkout)
        shutil.copytree(ROOT / "wizard" / "texts", checkout / "wizard" / "texts")
        for name in case.pythons:
            shutil.copy(program, found / f"{name}.exe")
        versions = {f"FAKE_VERSIONS_{name}": known for name, known in case.pythons.items()}
        if case.own:
            scripts = checkout / ".venv" / "Scripts"
            scripts.mkdir(parents=True)
            shutil.copy(program, scripts / "python.exe")
            (checkout / ".venv" / "Lib" / "site-packages").mkdir(parents=True)
            (checkout / ".venv" / "Lib" / "site-packages" / "quick_start.run").touch()
            versions["FAKE_VERSIONS_python"] = case.own
            if case.unfinished:
                (checkout / ".venv" / "unfinished").touch()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TRAIN_TO_"))},
            **versions,
            **case.variables,
            "WINEPATH": windows(found),
            "WINEDEBUG": "-all",
            "LC_ALL": "C.UTF-8",
        }
        # no space in its path: cmd takes the quotes off a command that begins with one
        script = windows(checkout / "quick_start.bat")
        done = subprocess.run(
            [wine, "cmd", "/c", script, *case.words],
            cwd=made,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        out = done.stdout.decode("utf-8", "replace")
        said = done.stderr.decode("utf-8", "replace")
        if done.returncode != case.code:
            yield f"ended with {done.returncode} instead of {case.code}: {out} {said}"
        if case.says and case.says not in said:
            yield f"says {said!r}"
        pairs = [(key, value) for key, _, value in (line.partition("=") for line in out.splitlines())]
        told: dict[str, Any] = dict(pairs) | {"words": [value for key, value in pairs if key == "word"]}
        if bool(case.calls) != ("program" in told):
            yield f"starts {told.get('program')}: {out} {said}"
        wanted = {**case.calls, "folder": windows(checkout), "script": script} if case.calls else {}
        for key, value in wanted.items():
            if told.get(key) != value:
                yield f"{key} is {told.get(key)!r} instead of {value!r}"


def windows(path: Path) -> str:
    """A path as programs under wine see it."""
    return f"Z:{path}".replace("/", "\\")


if __name__ == "__main__":
    sys.exit(main())
