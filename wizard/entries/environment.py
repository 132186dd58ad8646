"""The environment `.venv` beside the program: whether it stands, what it was made of, and how it is made.

Standard library only: this is what runs where nothing is installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from wizard.started import ROOT

HOUSE = Path(ROOT)
FOLDER = HOUSE / ".venv"
UNFINISHED = FOLDER / "unfinished"
"""Is there while packages are unpacked: one that was broken off there is half a package, which pip takes for whole."""
CONSTRAINTS = FOLDER / "constraints.txt"
CHOSEN = "chosen_python.pth"
"""Names the folder of a torch that the chosen Python has."""
VARIABLE = "TRAIN_TO_OLLAMA_PYTHON"
"""The user's own interpreter with all packages: nothing is looked at or installed then."""
REQUIREMENTS = ("requirements.txt", "requirements-nodeps.txt", "constraints.txt")
KINDS = {"run": REQUIREMENTS, "test": ("requirements-dev.txt", *REQUIREMENTS)}
"""What it can be made for, and the files that say what that takes."""


class SetupFailed(Exception):
    """The environment can't be made: the key of what is said, and its values."""

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key)
        self.key, self.values = key, values


def python() -> str:
    """The interpreter that the program is started with."""
    named = os.environ.get(VARIABLE)
    if named:
        return named
    windows = FOLDER / "Scripts" / "python.exe"
    return str(windows if windows.exists() else FOLDER / "bin" / "python")


def is_here() -> bool:
    """Whether this process is one of that environment."""
    return bool(os.environ.get(VARIABLE)) or _is_inside()


def _is_inside() -> bool:
    return Path(sys.prefix).resolve() == FOLDER.resolve()


def packages() -> Path | None:
    """Where its packages are."""
    found = [*FOLDER.glob("lib/python3*/site-packages"), *FOLDER.glob("Lib/site-packages")]
    return found[0] if found else None


def stamp(kind: str, folder: Path) -> Path:
    """Tells what the environment was made of. Lies among the packages: whoever loses them loses it too."""
    return folder / f"quick_start.{kind}"


def wanted(kind: str) -> str:
    """What a stamp says where the environment is as it should be."""
    # without blanks at the end, and in the line ends of one system
    return "".join((HOUSE / name).read_text(encoding="utf-8") for name in KINDS[kind]).rstrip("\n") + "\n"


def state(kind: str = "run") -> str:
    """ "ready"; "outdated" where it was made whole, of other requirements; else "none"."""
    if os.environ.get(VARIABLE):
        return "ready"
    folder = packages()
    if folder is None or UNFINISHED.exists() or not os.path.exists(python()):  # noqa: PTH110
        return "none"
    try:
        made_of = stamp(kind, folder).read_text(encoding="utf-8")
    except OSError:
        return "none"
    return "ready" if made_of.rstrip("\n") + "\n" == wanted(kind) else "outdated"


def is_whole() -> bool:
    """Whether packages can be added to what is there: it starts, has pip, and no package is half there."""
    folder = packages()
    if folder is None or UNFINISHED.exists():
        return False
    about = [path for path in folder.iterdir() if path.name.endswith(".dist-info")]
    # the last thing but one that pip writes of a package
    if not all((path / "INSTALLER").exists() for path in about):
        return False
    fits = "import pip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"
    try:
        return subprocess.run([python(), "-c", fits], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def step_outside() -> None:
    """Where this process is one of the environment, become the Python that it was made with, to make it anew.

    That one is also who knows whether it has a torch to take over.
    Raises SetupFailed where that can't be.
    """
    if not _is_inside():
        return
    # whatever happens now: the next start finds another Python
    UNFINISHED.touch()
    outside = str(getattr(sys, "_base_executable", "") or "")
    # on Windows the environment's own python.exe would wait for that one, and can't be replaced as long as it runs
    if os.name != "posix" or not os.access(outside, os.X_OK) or Path(outside).is_relative_to(FOLDER):
        raise SetupFailed("entries.error.again")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(outside, [outside, *sys.orig_argv[1:]])


def make() -> str | None:
    """Make it anew with this Python. The version of a torch that this Python has and the environment takes over.

    Raises SetupFailed.
    """
    from importlib.util import find_spec

    if find_spec("ensurepip") is None or find_spec("venv") is None:
        package = "python{}.{}-venv".format(*sys.version_info)
        raise SetupFailed("entries.error.no_ensurepip", python=sys.executable, package=package)
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(FOLDER)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    folder = packages()
    if made.returncode or folder is None:
        lines = [line for line in (made.stdout + made.stderr).splitlines() if line.strip()]
        raise SetupFailed("entries.error.no_venv", reason="\n   ".join(lines[-2:]) or str(made.returncode))
    found = _torch_of_this_python()
    if found is None:
        return None
    version, there = found
    if _is_too_old(version):
        return version
    # Not --system-site-packages: it would not see the packages of a Python that is itself a virtual environment.
    (folder / CHOSEN).write_text(there + "\n", encoding="utf-8")
    return version


def _torch_of_this_python() -> tuple[str, str] | None:
    """The version and the folder of a torch that works."""
    code = "import pathlib, torch as t; print(t.__version__); print(pathlib.Path(t.__file__).resolve().parent.parent)"
    if not any((Path(place) / "torch").is_dir() for place in sys.path):
        return None
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    lines = told.stdout.splitlines()
    return (lines[-2], lines[-1]) if told.returncode == 0 and len(lines) >= 2 else None


def _is_too_old(version: str) -> bool:
    return tuple(int(part) for part in version.split(".")[:2]) < (2, 6)


def torch() -> tuple[str, bool] | None:
    """The version of the environment's torch, and whether that lies outside of it; None where it has none."""
    from importlib.metadata import distributions

    folder = packages()
    if folder is None:
        return None
    link = folder / CHOSEN
    outside = link.read_text(encoding="utf-8").strip() if link.exists() else ""
    for place in (str(folder), outside):
        for found in distributions(name="torch", path=[place]) if place else ():
            return found.version, place == outside
    return None


def pinned_torch() -> str:
    """The version that constraints.txt names."""
    lines = (HOUSE / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next((line.partition("==")[2].strip() for line in lines if line.startswith("torch==")), "")


def write_constraints() -> None:
    """The pins, but a torch from outside the environment stays as it is."""
    lines = (HOUSE / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = torch()
    if found is not None and found[1]:
        lines = [line for line in lines if not line.startswith("torch==")] + [f"torch=={found[0]}"]
    CONSTRAINTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
