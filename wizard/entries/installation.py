"""The installation: four stages of pip, each a line, and a sentence where one of them fails."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from wizard.entries import environment, news, pip, progress, sources
from wizard.entries.environment import HOUSE, SetupFailed
from wizard.screen import output, typed
from wizard.screen.layout import folded, terminal_width
from wizard.screen.training import duration, size
from wizard.words import t

EXPORT = "\n## export\n"
"""The line of requirements.txt behind which stands what only the way into Ollama needs."""
PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


def set_up(kind: str = "run") -> str:
    """Make the environment what `kind` takes, where it isn't that, and say so: its interpreter.

    Says once what an update brought. Raises SetupFailed and KeyboardInterrupt.
    """
    if environment.state(kind) != "ready":
        _install(kind)
    if not os.environ.get(environment.VARIABLE) and (new := news.line()):
        _say(t("entries.news", version=new[0], what=new[1]))
    return environment.python()


def _install(kind: str) -> None:
    began = time.monotonic()
    going_on = environment.is_whole()
    if not going_on:
        environment.step_outside()
    unfit = os.environ.get("TRAIN_TO_OLLAMA_UNFIT_PYTHON")
    if unfit:
        _say(t("entries.unfit_python", python=unfit))
    if going_on:
        _say(t("entries.goes_on"))
    else:
        _say(t("entries.first", version="{}.{}.{}".format(*sys.version_info)))
        version = environment.make()
        if version is not None and environment.torch() is None:
            _say(t("entries.torch.old", version=version))
    folder = environment.packages()
    assert folder is not None
    if not going_on and not news.noted(folder):
        # at once: whoever is interrupted and goes on has updated nothing
        news.take_note(folder)
    for made_for in environment.KINDS:
        environment.stamp(made_for, folder).unlink(missing_ok=True)
    pip.LOG.write_bytes(b"")
    loaded = _Stages(kind).run()
    # what the tests need holds what the program needs
    for made_for in ("run", kind):
        environment.stamp(made_for, folder).write_text(environment.wanted(made_for), encoding="utf-8", newline="\n")
    key = "entries.ready" if loaded else "entries.ready.nothing_loaded"
    _say(t(key, loaded=size(loaded), time=duration(time.monotonic() - began)))


def requirements() -> tuple[list[str], list[str]]:
    """The lines of requirements.txt that training needs, and those that only the way into Ollama needs."""
    training, _, export = (HOUSE / "requirements.txt").read_text(encoding="utf-8").partition(EXPORT)
    return _lines(training), _lines(export)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


class _Stages:
    """All that pip has to do for a kind of environment."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._training, self._export = requirements()
        self._count = 3 + bool(self._export) + (kind == "test")
        self._number = self._loaded = 0
        self._mirror = False
        self._torch_mirror = sources.TORCH_MIRROR
        self._may_ask = may_ask()

    def run(self) -> int:
        """All stages: the bytes that were loaded for them. Raises SetupFailed and KeyboardInterrupt."""
        self._torch()
        environment.write_constraints()
        self._stage("training", self._training)
        if self._export:
            # with all of them at once, so that none of the second part spoils one of the first
            self._stage("export", ["-r", str(HOUSE / "requirements.txt")])
        if self._kind == "test":
            self._stage("tests", ["-r", str(HOUSE / "requirements-dev.txt")])
        self._stage("demo", ["--no-deps", "-r", str(HOUSE / "requirements-nodeps.txt")])
        return self._loaded

    def _torch(self) -> None:
        found, pinned = environment.torch(), environment.pinned_torch()
        environment.write_constraints()
        if found is not None and (found[1] or found[0].partition("+")[0] == pinned.partition("+")[0]):
            key = "entries.torch.taken" if found[1] else "entries.torch.there"
            self._line("torch").end("✓", t(key, version=found[0]))
            return
        index = os.environ.get("TORCH_INDEX_URL", "")
        # what torch needs has the other index
        by_itself = ["--no-deps", "torch"]
        if fitting := sources.torch_index():
            build = "cpu" if fitting == sources.CPU_TORCH else "cuda"
            self._torch_mirror = sources.TORCH_MIRRORS[fitting]
            if sources.answers(fitting):
                _say(t(f"entries.torch.{build}"))
                if self._stage("torch", by_itself, fitting, may_fail=True):
                    return
                _say(t(f"entries.torch.{build}_failed"))
                self._number -= 1
            else:
                _say(t(f"entries.torch.{build}_unreachable"))
        self._stage("torch", by_itself if index else ["torch"], index)

    def _line(self, name: str) -> progress.Line:
        self._number += 1
        return progress.Line(self._number, self._count, t(f"entries.stage.{name}"))

    def _stage(self, name: str, arguments: Sequence[str], index: str = "", *, may_fail: bool = False) -> bool:
        """One run of pip, or two where the user changes to a mirror in between: whether it did what it should."""
        line = self._line(name)
        while True:
            before = self._mirror
            run = pip.install(self._from(index, arguments), self._variables(), lambda run: self._watch(run, line))
            self._loaded += run.loaded
            if run.process.returncode == 0:
                line.end("✓", size(run.size) if run.size else "")
                return True
            if self._mirror == before:
                break
        line.end("✗")
        if may_fail:
            return False
        raise _failure(t(f"entries.stage.{name}"), run)

    def _from(self, index: str, arguments: Sequence[str]) -> list[str]:
        if self._mirror:
            index = sources.TORCH_MIRRORS.get(index, index)
        return [*(["--index-url", index] if index else []), *arguments]

    def _variables(self) -> dict[str, str]:
        return {"PIP_INDEX_URL": sources.MIRROR} if self._mirror else {}

    def _watch(self, run: pip.Run, line: progress.Line) -> bool:
        """Show how far it is; False where it is to begin again, from a mirror."""
        line.move(run)
        if not self._may_ask or (rate := run.rate()) is None:
            return True
        self._may_ask = False
        if rate >= pip.SLOW or _has_own_index():
            return True
        line.pause()
        names = {"index": sources.MIRROR, "torch": self._torch_mirror}
        for part in t("entries.mirror", rate=size(int(rate)), **names).split("\n"):
            output.write(part + "\n", sys.stderr)
        self._mirror = _says_yes()
        return not self._mirror


def may_ask() -> bool:
    """Whether a mirror may be offered: scripts, and who has chosen an index, are never asked."""
    chosen = any(os.environ.get(name) for name in ("PIP_INDEX_URL", "TORCH_INDEX_URL", "PIP_NO_INDEX"))
    return not chosen and typed.is_terminal() and sys.stderr.isatty()


def _says_yes() -> bool:
    """Enter is yes; what isn't understood is asked again."""
    while True:
        try:
            said = typed.line(t("entries.mirror.ask")).strip().lower()
        except EOFError:
            return False
        if said in ("", "y", "yes", "是", "好"):
            return True
        if said in ("n", "no", "否", "不", "0", typed.ESCAPE):
            return False


def _has_own_index() -> bool:
    """Whether a file of pip's names the index that the user wants."""
    import subprocess

    told = subprocess.run(
        [environment.python(), "-m", "pip", "config", "list"],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return any(line.split("=")[0].endswith(".index-url") for line in told.stdout.splitlines())


def _failure(stage: str, run: pip.Run) -> SetupFailed:
    said = [" ".join(line.split())[:300] for line in (run.errors or run.lines)[-2:]]
    values = {"stage": stage, "said": "\n   ".join(said), "log": pip.LOG}
    if any("No space left on device" in line or "Errno 28" in line for line in run.lines + run.errors):
        return SetupFailed("entries.error.disk", **values)
    for variable in PROXIES:
        if os.environ.get(variable, "").lower().startswith("socks") and not _has_socks():
            return SetupFailed("entries.error.socks", variable=variable, **values)
    return SetupFailed("entries.error.pip", **values)


def _has_socks() -> bool:
    folder = environment.packages()
    return folder is not None and (folder / "socks.py").exists()


def _say(text: str) -> None:
    for line in text.split("\n"):
        wide = terminal_width() if sys.stderr.isatty() else 10_000
        output.write("\n".join(folded(line, wide)) + "\n", sys.stderr)
