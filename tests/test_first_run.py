"""The first run: what is said while all is installed, where it comes from, and what is answered before that."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.project import ROOT
from tests.support.small_house import (
    NOBODY,
    Index,
    answer,
    environment,
    make_small_house,
    python_without_pip,
    run,
    wheel,
)
from tests.support.terminal import as_in_a_shell
from tests.wizard.test_home import Tags, train
from wizard.entries import installation, sources
from wizard.entries.table import ENTRIES, NUMBERS, find

if TYPE_CHECKING:
    import pexpect

SETUP_LINES = 15
posix = pytest.mark.posix("bash, and a pseudo-terminal")


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python without any package."""
    return python_without_pip(tmp_path_factory.mktemp("bare") / "python")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small house on a machine without a card, with something to install in each of the four stages."""
    house = make_small_house(tmp_path)
    (house / "requirements.txt").write_text("torch>=2.6\nbiscuit\n## export\ncracker\n", encoding="utf-8")
    (house / "train_to_ollama.py").write_text("import sys\nprint('trains', *sys.argv[1:])\n", encoding="utf-8")
    wheel(tmp_path / "wheels", "cracker")
    wheel(tmp_path / "wheels", "torch", "2.13.0")
    head = "def card() -> str | None:\n"
    plant(house / "pipeline" / "machine.py", head, head + "    return None\n\n\ndef its_card() -> str | None:\n")
    return house


def plant(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def set_source(house: Path, name: str, url: str) -> None:
    """Let a place that packages come from be another one."""
    path = house / "wizard" / "entries" / "sources.py"
    line = re.compile(rf'^{name} = ".*"$', re.MULTILINE)
    text, count = line.subn(f'{name} = "{url}"', path.read_text(encoding="utf-8"))
    assert count == 1
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def packages(tmp_path: Path) -> Iterator[Index]:
    """The index of everything."""
    with_all = Index(tmp_path / "wheels")
    yield with_all
    with_all.shutdown()


@pytest.fixture
def cpu_builds(tmp_path: Path) -> Iterator[Index]:
    """The index of PyTorch's CPU builds."""
    wheel(tmp_path / "cpu", "torch", "2.13.0+cpu", extra={"torch/weights": "0" * 400_000})
    builds = Index(tmp_path / "cpu")
    yield builds
    builds.closing.set()
    builds.shutdown()


def asked_for(index: Index) -> set[str]:
    """The packages that an index was asked for."""
    return {path.rstrip("/").split("/")[2].split("-")[0] for path in index.asked}


@posix
def test_a_first_setup_is_told_in_four_lines_and_pip_in_a_log(
    house: Path, bare: Path, packages: Index, cpu_builds: Index
) -> None:
    set_source(house, "CPU_TORCH", cpu_builds.url)
    done = run(house / "quick_start.sh", "setup", PYTHON=bare, PIP_INDEX_URL=packages.url)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) <= SETUP_LINES
    stages = [line for line in lines if re.search(r"\[\d/4\]", line)]
    assert [re.search(r"\[(\d)/4\] (\S+)", line).groups() for line in stages] == [  # type: ignore[union-attr]
        ("1", "PyTorch"), ("2", "训练"), ("3", "导出"), ("4", "演示小模型"),
    ]  # fmt: skip
    assert all(line.endswith("✓") and "秒" in line and "KB" in line for line in stages), stages
    assert "下载了" in lines[-1]
    assert "CPU 版 PyTorch" in lines[1]
    # each package from where it should come, and torch as the build that this machine has a use for
    assert (asked_for(cpu_builds), asked_for(packages)) == ({"torch"}, {"biscuit", "cracker", "parrot"})
    assert answer(house, "import importlib.metadata as m; print(m.version('torch'))") == "2.13.0+cpu"
    log = (house / ".venv" / "install.log").read_text(encoding="utf-8")
    assert ".venv/install.log" in lines[0] and log.count("Successfully installed") == 4
    assert not (house / ".venv" / "downloads").exists()


@posix
def test_where_the_cpu_builds_cannot_be_reached_the_usual_one_is_taken(
    house: Path, bare: Path, packages: Index
) -> None:
    set_source(house, "CPU_TORCH", "http://127.0.0.1:9/whl/cpu")
    done = run(house / "quick_start.sh", "setup", PYTHON=bare, PIP_INDEX_URL=packages.url)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) <= SETUP_LINES
    assert done.stderr.count("连不上 CPU 版 PyTorch 的下载站") == 1
    assert answer(house, "import torch; print(torch.__version__)") == "2.13.0"


@posix
def test_where_the_cpu_builds_lack_the_version_the_usual_one_is_taken(
    house: Path, tmp_path: Path, bare: Path, packages: Index
) -> None:
    wheel(tmp_path / "older", "torch", "2.12.0+cpu")
    builds = Index(tmp_path / "older")
    set_source(house, "CPU_TORCH", builds.url)
    done = run(house / "quick_start.sh", "setup", PYTHON=bare, PIP_INDEX_URL=packages.url)
    builds.shutdown()
    assert done.returncode == 0, done.stderr
    assert answer(house, "import torch; print(torch.__version__)") == "2.13.0"


@pytest.mark.parametrize(
    ("platform", "card", "more", "build"),
    [
        ("linux", None, {}, "cpu"),
        ("linux", "AMD", {}, "cpu"),
        ("linux", "RTX 4090", {}, ""),
        ("linux", "NVIDIA", {}, ""),
        ("linux", None, {"TORCH_INDEX_URL": "https://example.org"}, ""),
        ("linux", None, {"PIP_NO_INDEX": "1"}, ""),
        ("linux", None, {"PIP_INDEX_URL": "https://example.org"}, "cpu"),
        ("win32", None, {}, ""),
        ("win32", "NVIDIA", {}, "cu126"),
        ("win32", "NVIDIA", {"capability": "8.6\n12.0"}, "cu130"),
        ("win32", "NVIDIA", {"capability": "[N/A]"}, "cu126"),
        ("win32", "NVIDIA", {"TORCH_INDEX_URL": "https://example.org"}, ""),
        ("darwin", None, {}, ""),
        ("darwin", "Apple GPU", {}, ""),
    ],
)
@posix
def test_pytorch_comes_as_the_build_that_a_machine_has_use_for(
    platform: str,
    card: str | None,
    more: dict[str, str],
    build: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name in ("TORCH_INDEX_URL", "PIP_NO_INDEX", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    driver = tmp_path / "nvidia-smi"
    driver.write_text(f"#!/bin/sh\nprintf '%s\\n' '{more.get('capability', '8.9')}'\n", encoding="utf-8")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("pipeline.machine.card", lambda: card)
    assert sources.torch_index(platform).rpartition("/")[2] == build


@posix
def test_windows_with_a_card_gets_a_build_that_can_use_it(
    house: Path, bare: Path, packages: Index, cpu_builds: Index
) -> None:
    set_source(house, "CUDA_TORCH", cpu_builds.url)
    own = house / "wizard" / "entries" / "sources.py"
    plant(own, 'platform == "win32" and named is not None', "True")
    plant(own, 'platform == "linux"', "False")
    done = run(house / "quick_start.sh", "setup", PYTHON=bare, PIP_INDEX_URL=packages.url)
    assert done.returncode == 0, done.stderr
    assert "带 CUDA 的 PyTorch" in done.stderr and "CPU 版" not in done.stderr
    assert (asked_for(cpu_builds), asked_for(packages)) == ({"torch"}, {"biscuit", "cracker", "parrot"})
    set_source(house, "CUDA_TORCH", "http://127.0.0.1:9/whl/cu126")
    shutil.rmtree(house / ".venv")
    done = run(house / "quick_start.sh", "setup", PYTHON=bare, PIP_INDEX_URL=packages.url)
    assert done.returncode == 0 and done.stderr.count("用不了显卡") == 1, done.stderr


@posix
def test_an_installation_that_fails_in_the_middle_names_the_log_and_goes_on(
    house: Path, tmp_path: Path, bare: Path
) -> None:
    set_source(house, "CPU_TORCH", "http://127.0.0.1:9/whl/cpu")
    index = Index(tmp_path / "wheels")
    index.breaks = "cracker"
    failed = run(house / "quick_start.sh", "setup", PYTHON=bare, PIP_INDEX_URL=index.url)
    assert failed.returncode == 2
    assert len(failed.stderr.splitlines()) <= SETUP_LINES
    assert re.search(r"\[3/4\] 导出 .*✗", failed.stderr)
    log = house / ".venv" / "install.log"
    assert "「导出」没有装好" in failed.stderr and str(log) in failed.stderr
    assert "Successfully installed biscuit" in log.read_text(encoding="utf-8")
    index.breaks, before = "", len(index.asked)
    again = run(house / "quick_start.sh", "setup", PYTHON=bare, PIP_INDEX_URL=index.url)
    index.shutdown()
    assert again.returncode == 0, again.stderr
    assert "接着装环境" in again.stderr and "已经有 2.13.0" in again.stderr
    assert "更新到" not in again.stderr, "nothing was there before"
    assert not any(path.endswith(".whl") and ("torch" in path or "biscuit" in path) for path in index.asked[before:])
    assert answer(house, "import biscuit, cracker, parrot; print(cracker.__version__)") == "1.0"


# --- a slow network


def ended(child: pexpect.spawn) -> int:
    """Wait for the end: the exit code."""
    import pexpect

    child.expect(pexpect.EOF)
    child.close()
    assert child.signalstatus is None
    return int(child.exitstatus or 0)


def slow_start(house: Path, bare: Path, slow: Index, fast: Index, **more: str) -> pexpect.spawn:
    """A setup at a terminal whose PyTorch comes in drops, with mirrors at hand."""
    import pexpect  # Windows has none

    plant(house / "wizard" / "entries" / "pip.py", "= 2_000_000, 10.0\n", "= 2_000_000, 3.0\n")
    slow.drips = True
    set_source(house, "CPU_TORCH", slow.url)
    for name in ("TORCH_MIRROR", "MIRROR"):
        set_source(house, name, fast.url)
    options = {"encoding": "utf-8", "timeout": 300, "echo": False, "dimensions": (40, 100)}
    script = str(house / "quick_start.sh")
    return pexpect.spawn(
        "bash", [script, "setup"], env=environment(PYTHON=bare, **more), cwd="/", preexec_fn=as_in_a_shell, **options
    )


@posix
def test_where_pip_is_slow_a_mirror_is_offered_by_name_and_taken(
    house: Path, bare: Path, packages: Index, cpu_builds: Index
) -> None:
    child = slow_start(house, bare, cpu_builds, packages)
    child.expect_exact("下载很慢")
    child.expect_exact(packages.url)
    child.expect_exact("[Y/n]")
    child.sendline("什么")
    child.expect_exact("[Y/n]")
    child.sendline("")
    child.expect_exact("环境已就绪")
    assert ended(child) == 0
    # asked once, and everything came from there
    assert "下载很慢" not in child.before
    assert asked_for(packages) == {"torch", "biscuit", "cracker", "parrot"}


@posix
def test_who_wants_no_mirror_keeps_what_is_loaded_already(
    house: Path, bare: Path, packages: Index, cpu_builds: Index
) -> None:
    # the other packages' index is behind a proxy that never answers
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        child = slow_start(house, bare, cpu_builds, packages, https_proxy=proxy)
        child.expect_exact("[Y/n]")
        child.sendline("n")
        cpu_builds.closing.set()
        child.expect(r"\[1/4\] PyTorch[^\n]*✓")
        child.expect_exact("[2/4]")
        child.sendintr()
        assert ended(child) == 130
    assert sum(path.endswith(".whl") for path in cpu_builds.asked) == 1
    assert packages.asked == []


@pytest.mark.parametrize(
    ("terminal", "more", "asks"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"PIP_INDEX_URL": "https://example.org"}, False),
        (True, {"TORCH_INDEX_URL": "https://example.org"}, False),
    ],
)
def test_scripts_and_who_has_chosen_an_index_are_never_asked(
    terminal: bool, more: dict[str, str], asks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TORCH_INDEX_URL", "PIP_NO_INDEX", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("wizard.screen.typed.is_terminal", lambda: terminal)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert installation.may_ask() == asks


# --- what needs no installation


@posix
def test_what_was_trained_and_what_ollama_has_is_told_without_an_installation(
    house: Path, tmp_path: Path, bare: Path
) -> None:
    home = tmp_path / "runs"
    train(home, "linzhi", digest="d1", epochs=2.0)
    train(home, "linzhi", digest="d3", epochs=3.5)
    train(home, "me/zz:v2")
    with Tags({"linzhi:latest": "d3", "llama3:latest": "e", "linzhi:backup-20261101-1": "b"}) as tags:
        more = {"TRAIN_TO_OLLAMA_HOME": home, "OLLAMA_HOST": tags.host, "PYTHON": bare}
        listed = run(house / "quick_start.sh", "6", **more)
        one = run(house / "quick_start.sh", "6", "me/zz:v2", **more)
        status = run(house / "quick_start.sh", "--lang", "en", "9", **more)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "📋 linzhi" in listed.stdout and "📋 me/zz:v2" in listed.stdout
    assert re.search(r"^★ *2 .* 3\.5 ", listed.stdout, re.MULTILINE) and listed.stdout.count("★") == 2
    assert "不是这里练的：llama3" in listed.stdout and "backup" not in listed.stdout
    assert "quick_start.sh' setup" in listed.stdout.splitlines()[-1]
    assert one.returncode == 0 and "linzhi" not in one.stdout
    assert status.returncode == 0, status.stderr
    assert "Models  2 with a training record: linzhi, me/zz:v2" in status.stdout
    assert "not trained here: llama3" in status.stdout and "nothing yet" in status.stdout
    assert not (house / ".venv").exists()


@posix
def test_a_model_that_there_is_not_is_refused_before_anything_is_installed(
    house: Path, tmp_path: Path, bare: Path
) -> None:
    with Tags({"llama3:latest": "e"}) as tags:
        more = {"TRAIN_TO_OLLAMA_HOME": tmp_path / "runs", "OLLAMA_HOST": tags.host, "PYTHON": bare}
        refused = run(house / "quick_start.sh", "3", "nobody", "--yes", **more)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "没有「nobody」这个模型" in refused.stderr
    assert not (house / ".venv").exists()


@posix
def test_3_lists_all_models_first_and_installs_once_one_is_chosen(
    house: Path, tmp_path: Path, bare: Path, packages: Index
) -> None:
    import pexpect

    train(tmp_path / "runs", "linzhi")
    with Tags({"llama3:latest": "e"}) as tags:
        more = {"TRAIN_TO_OLLAMA_HOME": tmp_path / "runs", "OLLAMA_HOST": tags.host, "PYTHON": bare}
        more |= {"PIP_INDEX_URL": packages.url, "TORCH_INDEX_URL": packages.url}
        child = pexpect.spawn(
            "bash",
            [str(house / "quick_start.sh"), "3", "--add_epochs", "1"],
            env=environment(**more),
            cwd="/",
            encoding="utf-8",
            timeout=300,
            echo=False,
        )
        child.expect_exact("1) linzhi")
        child.expect_exact("2) llama3")
        child.expect_exact("编号（0 返回）：")
        assert not (house / ".venv").exists()
        child.sendline("2")
        child.expect_exact("环境已就绪")
        child.expect_exact("trains --ollama_name llama3 --continue_train --add_epochs 1")
        assert ended(child) == 0
        # the same without a terminal, where all stands now
        named = run(house / "quick_start.sh", "3", "linzhi", "--yes", **more)
    assert (named.returncode, named.stdout) == (0, "trains --ollama_name linzhi --continue_train --yes\n"), named.stderr


@posix
def test_3_with_a_name_installs_and_trains_without_a_terminal(
    house: Path, tmp_path: Path, bare: Path, packages: Index
) -> None:
    more = {"TRAIN_TO_OLLAMA_HOME": tmp_path / "runs", "OLLAMA_HOST": NOBODY, "PYTHON": bare}
    more |= {"PIP_INDEX_URL": packages.url, "TORCH_INDEX_URL": packages.url}
    done = run(house / "quick_start.sh", "3", "zzhua", "--yes", **more)
    assert (done.returncode, done.stdout) == (0, "trains --ollama_name zzhua --continue_train --yes\n"), done.stderr


# --- an update


@posix
def test_an_updated_checkout_says_once_what_became_new(house: Path, bare: Path, packages: Index) -> None:
    more = {"PYTHON": bare, "PIP_INDEX_URL": packages.url, "TORCH_INDEX_URL": packages.url}
    script = house / "quick_start.sh"
    (house / "CHANGELOG.md").write_text("# Changes\n\n## 0.1\n\n- Everything.\n", encoding="utf-8")
    assert "更新到" not in run(script, "setup", **more).stderr
    project = house / "pyproject.toml"
    newer = re.sub(r'^version = ".*"', 'version = "9.1"', project.read_text(encoding="utf-8"), flags=re.MULTILINE)
    project.write_text(newer, encoding="utf-8")
    news = "## 9.1 (2026-12-01)\n\n### 新的\n\n- **能清理**旧备份。 / Cleans.\n- 别的。\n"
    changes = f"# Changes\n\n## unreleased\n\n- Not yet.\n\n{news}\n## 0.1\n\n- Everything.\n"
    (house / "CHANGELOG.md").write_text(changes, encoding="utf-8")
    (house / "requirements.txt").write_text("torch>=2.6\nbiscuit\ncracker>=1\n", encoding="utf-8")
    updated = run(script, "1", **more)
    assert (updated.returncode, updated.stdout) == (0, "trains\n"), updated.stderr
    lines = updated.stderr.splitlines()
    assert len(lines) <= SETUP_LINES and lines[-1] == "🆕 更新到 9.1：能清理旧备份。"
    assert run(script, "1", **more).stderr == ""


# --- one table


def test_both_scripts_leave_the_entries_to_one_table() -> None:
    """They start the same module with the words as they are, and name no entry."""
    for name, start in (("quick_start.sh", '-m wizard.entries "$@"'), ("quick_start.bat", "-m wizard.entries %*")):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert text.count(start) == 1 and text.count("-m wizard.") == 2, name  # once more in what it says of itself
        words = {word for entry in ENTRIES for word in (entry.word, entry.also) if word.isalpha()} - {"test"}
        assert [word for word in words if re.search(rf"(?m)^\s*[^#\s].*\b{word}\b", text.replace("rem ", "# "))] == []


def test_every_row_of_the_table_can_be_found_and_has_its_words() -> None:
    zh = json.loads((ROOT / "wizard" / "texts" / "zh.json").read_text(encoding="utf-8"))
    for entry in ENTRIES:
        assert find(entry.word) is entry and (not entry.also or find(entry.also) is entry)
        assert f"entries.about.{entry.word}" in zh
        assert not entry.word.isdecimal() or f"home.choice.{entry.word}" in zh
    assert NUMBERS[-1] == "0" and find("") is None and find("frobnicate") is None


LABEL = re.compile(r"(?m)^:(\w+)")


def test_the_batch_file_is_one_that_cmd_understands() -> None:
    """Read, not run: no interpreter of batch files belongs to what the tests need."""
    raw = (ROOT / "quick_start.bat").read_bytes()
    assert raw.isascii() and raw.count(b"\n") == raw.count(b"\r\n") > 0
    text = raw.decode().replace("\r\n", "\n")
    commands = "\n".join(line for line in text.splitlines() if not line.startswith("rem "))
    labels = set(LABEL.findall(commands))
    gone_to = set(re.findall(r"\bgoto (\w+)", commands)) | set(re.findall(r"\bcall :(\w+)", commands))
    assert labels == gone_to
    assert commands.count("(") == commands.count(")")
    assert commands.count("%") % 2 == commands.count("%*") % 2 or "%%V" in commands
    # the newest first, and as many as pyproject.toml takes
    assert "for %%V in (3.13 3.12 3.11) do call :try py -%%V" in commands
    assert "chcp 65001" in commands and "DisableDelayedExpansion" in commands
    for word in re.findall(r'"(wizard\\texts\\[^"]+)"', commands):
        for language in ("zh", "en"):
            assert (ROOT / word.replace("\\", "/").replace("%WORDS%", language)).is_file()
