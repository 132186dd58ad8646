"""quick_start.sh by real bash, real keys and a real pip, from a folder with spaces and Chinese in its name."""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.run.history import History
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
    without_index,
)
from tests.support.terminal import as_in_a_shell
from wizard.home import words_for

pexpect = pytest.importorskip("pexpect", reason="Windows has none")
pytestmark = pytest.mark.posix("bash, and a pseudo-terminal")

TOOLS = ("bash", "dirname", "readlink", "cat")


@pytest.fixture
def small_house(tmp_path: Path) -> Path:
    """A small house in which nothing has run."""
    return make_small_house(tmp_path)


@pytest.fixture(scope="session")
def torch_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has a torch of another version than the pinned one, built for some GPU."""
    return python_without_pip(tmp_path_factory.mktemp("with torch") / "python", "2.9.0+gpu1")


@pytest.fixture
def offline(tmp_path: Path, torch_python: Path) -> dict[str, str | Path]:
    """The small house's wheels, and a Python that has a torch."""
    return without_index(tmp_path, torch_python)


@pytest.fixture(scope="session")
def set_up_once(tmp_path_factory: pytest.TempPathFactory, torch_python: Path) -> Path:
    """A small house in which setup has run, to be copied."""
    folder = tmp_path_factory.mktemp("set up")
    house = make_small_house(folder)
    done = run(house / "quick_start.sh", "setup", PIP_USER="1", **without_index(folder, torch_python))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    (house / "told").write_text(done.stderr, encoding="utf-8")
    return house


@pytest.fixture
def ready_house(small_house: Path, set_up_once: Path) -> Path:
    """The small house after setup; an environment doesn't mind being moved."""
    shutil.copytree(set_up_once / ".venv", small_house / ".venv", symlinks=True)
    return small_house


@pytest.fixture
def silent_index(tmp_path: Path) -> Iterator[Index]:
    """An index that takes calls and never answers."""
    index = Index(tmp_path / "wheels", silent=True)
    yield index
    index.closing.set()
    index.shutdown()


def test_setup_uses_the_torch_that_the_chosen_python_has(set_up_once: Path, torch_python: Path) -> None:
    assert "沿用已有的 torch 2.9.0+gpu1" in (set_up_once / "told").read_text(encoding="utf-8")
    torch = Path(answer(set_up_once, "import torch; print(torch.__file__)"))
    assert torch.is_relative_to(torch_python.parent.parent)
    assert answer(set_up_once, "import biscuit, parrot; print(biscuit.__version__)") == "1.0"


def test_a_second_setup_calls_no_pip_and_changed_requirements_do(
    ready_house: Path, offline: dict[str, str | Path], tmp_path: Path
) -> None:
    script = ready_house / "quick_start.sh"
    again = run(script, "setup", **offline)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert not (tmp_path / "pip.log").exists()
    (ready_house / "constraints.txt").write_text("torch==2.13.0\nbiscuit==2.0\n", encoding="utf-8")
    # The torch of the chosen Python stays what it is; the pins of the others have changed.
    assert run(script, "setup", **offline).returncode == 0
    assert (tmp_path / "pip.log").exists()
    assert answer(ready_house, "import biscuit; print(biscuit.__version__)") == "2.0"


def test_test_installs_what_the_tests_need_on_top(
    ready_house: Path, offline: dict[str, str | Path], tmp_path: Path
) -> None:
    (ready_house / "requirements-dev.txt").write_text("-r requirements.txt\npytest\n", encoding="utf-8")
    script = 'import biscuit, parrot, sys\nprint("tested", *sys.argv[1:])\n'
    wheel(tmp_path / "wheels", "pytest", extra={"pytest/__main__.py": script})
    done = run(ready_house / "quick_start.sh", "test", "-k", "two words", **offline)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "tested -k two words"), done.stderr


@pytest.mark.parametrize("damage", ["interpreter", "packages"])
def test_a_broken_environment_is_mended(ready_house: Path, offline: dict[str, str | Path], damage: str) -> None:
    if damage == "interpreter":
        for path in (ready_house / ".venv" / "bin").glob("python*"):
            path.unlink()
    else:
        shutil.rmtree(Path(answer(ready_house, "import sysconfig; print(sysconfig.get_path('purelib'))")))
    done = run(ready_house / "quick_start.sh", "setup", **offline)
    assert done.returncode == 0, done.stderr
    assert answer(ready_house, "import biscuit, parrot, torch; print(biscuit.__version__)") == "1.0"


def test_an_installation_that_was_killed_while_it_loaded_goes_on(
    ready_house: Path, offline: dict[str, str | Path], torch_python: Path, silent_index: Index
) -> None:
    script = ready_house / "quick_start.sh"
    (ready_house / "constraints.txt").write_text("torch==2.13.0\nbiscuit==2.0\n", encoding="utf-8")
    hanging = {"PYTHON": torch_python, "PIP_INDEX_URL": silent_index.url, "PIP_TIMEOUT": "600"}
    process = subprocess.Popen(
        ["bash", str(script), "setup"],
        env=environment(**hanging),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + 300
    while not silent_index.asked and time.monotonic() < end:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert silent_index.asked == ["/simple/biscuit/"]
    kept = ready_house / ".venv" / "of the first time"
    kept.touch()
    done = run(script, "setup", **offline)
    assert (done.returncode, "接着装环境" in done.stderr) == (0, True), done.stderr
    assert kept.exists()
    assert answer(ready_house, "import biscuit; print(biscuit.__version__)") == "2.0"


@pytest.mark.parametrize("left", ["unfinished", "half a package"])
def test_an_installation_that_was_killed_while_it_unpacked_begins_anew(
    ready_house: Path, offline: dict[str, str | Path], left: str
) -> None:
    packages = Path(answer(ready_house, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    (packages / "quick_start.run").unlink()
    if left == "unfinished":
        (ready_house / ".venv" / "unfinished").touch()
    else:  # pip takes it for whole
        (packages / "biscuit-1.0.dist-info" / "INSTALLER").unlink()
        (packages / "biscuit" / "__init__.py").unlink()
    leftover = ready_house / ".venv" / "of the first time"
    leftover.touch()
    done = run(ready_house / "quick_start.sh", "setup", **offline)
    assert done.returncode == 0, done.stderr
    assert not leftover.exists()
    assert answer(ready_house, "import biscuit; print(biscuit.__version__)") == "1.0"


def test_an_environment_that_is_activated_and_broken_is_made_anew(
    ready_house: Path, offline: dict[str, str | Path], tmp_path: Path
) -> None:
    wheel(tmp_path / "wheels", "torch", "2.13.0")  # that Python has none
    programs = ready_house / ".venv" / "bin"
    (ready_house / ".venv" / "unfinished").touch()
    leftover = ready_house / ".venv" / "of the first time"
    leftover.touch()
    activated = {name: value for name, value in offline.items() if name != "PYTHON"}
    activated |= {"VIRTUAL_ENV": ready_house / ".venv", "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    done = run(ready_house / "quick_start.sh", "setup", **activated)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("先装好环境") == 1
    assert not leftover.exists()
    assert answer(ready_house, "import biscuit; print(biscuit.__version__)") == "1.0"


def test_index_urls_reach_pip_and_that_of_torch_only_torch(small_house: Path, tmp_path: Path) -> None:
    wheel(tmp_path / "torch wheels", "torch", "2.13.0", requires="biscuit")
    wheel(tmp_path / "torch wheels", "torch", "2.14.0")
    packages, torches = Index(tmp_path / "wheels"), Index(tmp_path / "torch wheels")
    urls = {"PIP_INDEX_URL": packages.url, "TORCH_INDEX_URL": torches.url}
    done = run(small_house / "quick_start.sh", "setup", PYTHON=python_without_pip(tmp_path / "bare"), **urls)
    packages.shutdown()
    torches.shutdown()
    assert done.returncode == 0, done.stderr
    assert {path.rstrip("/").split("/")[2].split("-")[0] for path in torches.asked} == {"torch"}
    assert {path.rstrip("/").split("/")[2].split("-")[0] for path in packages.asked} == {"biscuit", "parrot"}
    assert answer(small_house, "import torch; print(torch.__version__)") == "2.13.0"


def test_a_torch_that_is_too_old_is_told_and_left_alone(small_house: Path, tmp_path: Path) -> None:
    python = python_without_pip(tmp_path / "old", "2.1.0")
    wheel(tmp_path / "wheels", "torch", "2.13.0")
    found = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": (tmp_path / "wheels").as_uri()}
    done = run(small_house / "quick_start.sh", "setup", PYTHON=python, **found)
    assert done.returncode == 0, done.stderr
    assert "torch 2.1.0 太旧" in done.stderr
    assert answer(small_house, "import torch; print(torch.__version__)") == "2.13.0"
    told = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, check=True)
    assert told.stdout.strip() == b"2.1.0"


def test_a_failed_installation_names_the_mirror_variables_and_goes_on_next_time(
    ready_house: Path, offline: dict[str, str | Path], tmp_path: Path
) -> None:
    script = ready_house / "quick_start.sh"
    (ready_house / "constraints.txt").write_text("torch==2.13.0\nbiscuit==2.0\n", encoding="utf-8")
    (tmp_path / "wheels").rename(tmp_path / "away")
    failed = run(script, "setup", TRAIN_TO_OLLAMA_LANG="en", **offline)
    assert failed.returncode == 2
    assert "PIP_INDEX_URL" in failed.stderr.splitlines()[-1]
    # What pip can't use is named, where there is one.
    proxied = run(script, "setup", TRAIN_TO_OLLAMA_LANG="en", all_proxy="socks5://127.0.0.1:9", **offline)
    assert proxied.returncode == 2 and "all_proxy names a SOCKS proxy" in proxied.stderr.splitlines()[-1]
    (tmp_path / "away").rename(tmp_path / "wheels")
    kept = ready_house / ".venv" / "of the first time"
    kept.touch()
    assert run(script, "setup", **offline).returncode == 0
    assert kept.exists()


def tools_only(folder: Path, **scripts: str) -> Path:
    """A folder for PATH with what the script calls, and no Python but the given shell scripts."""
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (folder / tool).symlink_to(found)
    for name, text in scripts.items():
        path = folder / name.replace("_", ".")
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)
    return folder


def test_without_a_fitting_python_it_says_which_ones_fit(small_house: Path, tmp_path: Path) -> None:
    path = tools_only(tmp_path / "bin", python3="exit 1", python3_13="echo 'no such version' >&2; exit 127")
    done = run(small_house / "quick_start.sh", "setup", PATH=path, PYTHON=path / "python3")
    (found_none,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert found_none.startswith("❌ 没有找到 Python 3.11、3.12 或 3.13：请先安装其中一个")
    english = run(small_house / "quick_start.sh", "--lang", "en", "9", PATH=path)
    assert (english.returncode, english.stderr[:14]) == (2, "❌ Found no Pyt")
    assert not (small_house / ".venv").exists()


def test_a_python_that_was_named_and_does_not_fit_is_told(small_house: Path, tmp_path: Path) -> None:
    path = tools_only(tmp_path / "bin", old="exit 1", python3=f'exec "{sys.executable}" -S "$@"')
    more = {"PATH": path, "PYTHON": path / "old", "PIP_NO_INDEX": "1"}
    done = run(small_house / "quick_start.sh", "setup", **more)
    assert done.stderr.splitlines()[0] == f"PYTHON={path}/old 不是能用的 Python 3.11～3.13，改用别的。"


def test_a_python_without_ensurepip_is_told_how_debian_mends_it(small_house: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['ensurepip'] = None\n", encoding="utf-8")
    lame = f'PYTHONPATH="{tmp_path}" exec "{sys.executable}" "$@"'
    done = run(small_house / "quick_start.sh", "setup", PATH=tools_only(tmp_path / "bin", python3_12=lame))
    assert done.returncode == 2
    assert f"sudo apt install python3.{sys.version_info[1]}-venv" in done.stderr


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """The whole program, copied to a folder with spaces and Chinese."""
    house = tmp_path / "我的 模型"
    unwanted = shutil.ignore_patterns(".*", "runs", "tests", "bench", "__pycache__")
    shutil.copytree(ROOT, house, ignore=unwanted)
    return house


@pytest.fixture
def recorder(tmp_path: Path) -> Path:
    """A stand-in for the interpreter's name: notes the arguments, a line each call, and is Python."""
    path = tmp_path / "python"
    line = f'(IFS="|"; printf "%s\\n" "$*") >>"{tmp_path}/calls"'
    path.write_text(f'#!/bin/sh\n{line}\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def calls(tmp_path: Path) -> list[list[str]]:
    """The arguments of all calls of the recorder."""
    path = tmp_path / "calls"
    return [line.split("|") for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def spawn(script: Path, *arguments: str, **more: str | Path) -> pexpect.spawn:
    """The script in a pseudo-terminal."""
    options = {"encoding": "utf-8", "timeout": 300, "echo": False, "dimensions": (40, 120), "preexec_fn": as_in_a_shell}
    return pexpect.spawn("bash", [str(script), *arguments], env=environment(**more), cwd="/", **options)


def noting_python(tmp_path: Path) -> Path:
    """A stand-in for an interpreter: finds out what is to be done, and notes what would be started for it."""
    through = f'if [ "$2" = wizard.entries ]; then exec "{sys.executable}" "$@"; fi'
    noting = f'for word; do printf "%s\\n" "$word"; done >"{tmp_path}/words"'
    return tools_only(tmp_path / "bin", python3=f"{through}\n{noting}") / "python3"


def noted(tmp_path: Path) -> list[str]:
    """What the noting Python was started with."""
    return (tmp_path / "words").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A Python without any package."""
    return python_without_pip(tmp_path / "bare")


def ended(child: pexpect.spawn) -> int:
    """Wait for the end: the exit code."""
    child.expect(pexpect.EOF)
    child.close()
    assert child.signalstatus is None
    return int(child.exitstatus or 0)


def test_where_nothing_is_installed_the_menu_comes_all_the_same(house: Path, tmp_path: Path, bare: Path) -> None:
    more = {"TRAIN_TO_OLLAMA_HOME": tmp_path / "runs", "OLLAMA_HOST": NOBODY}
    child = spawn(house / "quick_start.sh", PATH=tools_only(tmp_path / "bin"), PYTHON=bare, **more)
    child.expect_exact("第一次来？先看 5) 演示")
    child.expect_exact("环境还没有装")
    child.expect_exact("3) 🔄 继续训练已有模型")
    child.expect_exact("请选择：")
    said = {
        "12": "没有「12」这一项，请输入 1, 2, 3, 4, 5, 6, 7, 8, 9 或 0。",
        "parrot 6": "没有「parrot」这一项",
        "": "请输入一个数字，再按 Enter；0 退出。",
        "３": "还没有训练过的角色。",
        "４": "还没有训练过的角色。",
        "7": "还没有训练过的角色。",
    }
    for typed, line in said.items():
        child.sendline(typed)
        child.expect_exact(line)
        child.expect_exact("请选择：")
        assert "1) 🆕" not in child.before  # no second menu
    for typed, line in {" 6　": "还没有训练记录。", "6 parrot": "还没有训练记录。", "９": "依赖  还没有装"}.items():
        child.sendline(typed)
        child.expect_exact(line)
        child.expect_exact("按 Enter 回到首页：")
        child.sendline("")
        child.expect_exact("请选择：")
    child.sendline("q")
    assert ended(child) == 0
    assert not (house / ".venv").exists()


@pytest.mark.parametrize("typed", ["0", "０", " q ", "quit", "\x1b"])
def test_leaving_the_menu_is_understood_in_every_way(house: Path, typed: str) -> None:
    child = spawn(house / "quick_start.sh")
    child.expect_exact("请选择：")
    child.send(typed if typed == "\x1b" else typed + "\n")  # Esc counts at once
    assert ended(child) == 0


@pytest.mark.parametrize(
    ("arguments", "more", "words"),
    [
        (["--lang", "en"], {}, "Your choice: "),
        (["--lang=en"], {}, "Your choice: "),
        ([], {"TRAIN_TO_OLLAMA_LANG": "en"}, "Your choice: "),
        ([], {"LANG": "de_DE.UTF-8"}, "Your choice: "),
        ([], {"LANG": "zh_CN.UTF-8"}, "请选择："),
        (["--lang", "zh"], {"LANG": "en_US.UTF-8"}, "请选择："),
    ],
)
def test_the_menu_speaks_the_wanted_language(
    house: Path, arguments: list[str], more: dict[str, str], words: str
) -> None:
    child = spawn(house / "quick_start.sh", *arguments, **more)
    child.expect_exact(words)
    child.sendeof()
    assert ended(child) == 0


def test_ctrl_c_leaves_the_menu_quietly(house: Path) -> None:
    child = spawn(house / "quick_start.sh")
    child.expect_exact("请选择：")
    child.sendintr()
    assert ended(child) == 130
    assert child.before.strip() in ("", "^C")


def test_without_a_terminal_the_menu_is_a_usage_error(house: Path) -> None:
    done = run(house / "quick_start.sh")
    assert done.returncode == 2
    assert shlex.join([str(house / "quick_start.sh"), "3", "zzhua"]) in done.stderr  # as it was typed


def test_an_unknown_command_shows_the_usage(house: Path) -> None:
    done = run(house / "quick_start.sh", "--lang", "en", "frobnicate")
    assert done.returncode == 2
    assert shlex.quote(str(house / "quick_start.sh")) + " test" in done.stderr
    assert run(house / "quick_start.sh", "--help").stdout.startswith("用法：")


def test_3_with_a_name_goes_straight_to_the_entry_through_a_symlink(
    house: Path, recorder: Path, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    link = tmp_path / "bin" / "train"
    link.symlink_to(Path("..") / house.name / "quick_start.sh")
    home = {"TRAIN_TO_OLLAMA_HOME": tmp_path / "runs", "OLLAMA_HOST": NOBODY}
    done = run(link, "3", "zzhua", "--system", "两个 词", "--yes", TRAIN_TO_OLLAMA_PYTHON=recorder, **home)
    typed = ["--system", "两个 词", "--yes"]
    wanted = ["train_to_ollama.py", "--ollama_name", "zzhua", "--continue_train", *typed]
    assert calls(tmp_path) == [["-m", "wizard.entries", "3", "zzhua", *typed], wanted]
    assert done.returncode != 0
    assert "OLLAMA_HOST" in done.stdout + done.stderr  # it can't be known whether there is such a model
    assert "Traceback" not in done.stdout + done.stderr


ARGUMENTS = ("two words", "", "--a=b", "*", "$HOME", "-x", "'\\")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["1"], ["train_to_ollama.py"]),
        (["2"], ["train_to_ollama.py", "--data_desk", "--ollama_name"]),
        (["2", "--json"], ["train_to_ollama.py", "--data_desk", "--json"]),
        (["3", "zzhua"], ["train_to_ollama.py", "--ollama_name", "zzhua", "--continue_train"]),
        (["--lang", "en", "3", "zzhua"], ["train_to_ollama.py", "--ollama_name", "zzhua", "--continue_train"]),
        (["4", "zzhua"], ["train_to_ollama.py", "--ollama_name", "zzhua", "--compare_only"]),
        (["6"], ["train_to_ollama.py", "--history", "--ollama_name"]),
        (["6", "--json"], ["train_to_ollama.py", "--history", "--json"]),
        (["5"], ["-m", "wizard.demo"]),
        (["7", "zzhua"], ["train_to_ollama.py", "--ollama_name", "zzhua", "--chat"]),
        (["8"], ["train_to_ollama.py", "--clean"]),
        (["9"], ["-m", "wizard.status"]),
        (["demo"], ["-m", "wizard.demo"]),
        (["test"], ["-m", "pytest"]),
    ],
    ids=" ".join,
)
def test_every_command_passes_its_arguments_on_as_they_are(
    house: Path, tmp_path: Path, words: list[str], wanted: list[str]
) -> None:
    python = noting_python(tmp_path)
    done = run(house / "quick_start.sh", *words, *ARGUMENTS, TRAIN_TO_OLLAMA_PYTHON=python, PATH=python.parent)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert noted(tmp_path) == [*wanted, *ARGUMENTS]


def test_1_6_and_demo_are_the_program_itself(house: Path, tmp_path: Path) -> None:
    more = {"TRAIN_TO_OLLAMA_HOME": tmp_path / "runs", "OLLAMA_HOST": NOBODY, "TRAIN_TO_OLLAMA_PYTHON": sys.executable}
    script = house / "quick_start.sh"
    assert run(script, "1", "--help", **more).stdout.startswith(f"用法：{shlex.quote(str(script))} 1 [选项…]")
    typed = run(Path("quick_start.sh"), "1", "--help", cwd=house, **more)
    assert typed.stdout.startswith("用法：./quick_start.sh 1 [选项…]")
    history = run(house / "quick_start.sh", "6", "--json", **more)
    assert (history.returncode, history.stdout[:11]) == (0, '{"ok": true'), history.stderr
    demo = run(house / "quick_start.sh", "demo", "--epochs", "two", **more)
    assert (demo.returncode, "不能是「two」" in demo.stdout) == (2, True), demo.stderr


def test_3_without_a_name_lets_one_choose_from_the_recorded_models(house: Path, recorder: Path, tmp_path: Path) -> None:
    home = tmp_path / "runs"
    for name in ("zzhua", "linzhi"):
        History(home).begin(name)
    more = {"TRAIN_TO_OLLAMA_HOME": home, "TRAIN_TO_OLLAMA_PYTHON": recorder, "OLLAMA_HOST": NOBODY}
    child = spawn(house / "quick_start.sh", "3", "--add_epochs", "two words", **more)
    child.expect_exact("1) linzhi")
    child.expect_exact("2) zzhua")
    child.expect_exact("编号（0 返回）：")
    for wrong in ("3", "00", "x", ""):
        child.sendline(wrong)
        child.expect_exact("没有这个编号，请输入 0～2。")
        child.expect_exact("编号（0 返回）：")
    child.sendline("2")
    child.expect_exact("不能是「two words」")
    assert ended(child) == 2
    assert calls(tmp_path) == [["-m", "wizard.entries", "3", "--add_epochs", "two words"]]


def test_7_without_a_name_lets_one_choose_and_keeps_the_arguments(house: Path, recorder: Path, tmp_path: Path) -> None:
    History(tmp_path / "runs").begin("linzhi")
    more = {"TRAIN_TO_OLLAMA_HOME": tmp_path / "runs", "TRAIN_TO_OLLAMA_PYTHON": recorder, "OLLAMA_HOST": NOBODY}
    child = spawn(house / "quick_start.sh", "7", "--temperature", "two words", **more)
    child.expect_exact("编号（0 返回）：")
    child.sendline("1")
    child.expect_exact("不能是「two words」")
    assert ended(child) == 2
    assert calls(tmp_path) == [["-m", "wizard.entries", "7", "--temperature", "two words"]]


def test_where_all_is_installed_the_page_comes_and_comes_back(house: Path, recorder: Path, tmp_path: Path) -> None:
    History(tmp_path / "runs").begin("linzhi")
    more = {"TRAIN_TO_OLLAMA_HOME": tmp_path / "runs", "TRAIN_TO_OLLAMA_PYTHON": recorder, "OLLAMA_HOST": NOBODY}
    child = spawn(house / "quick_start.sh", **more)
    child.expect_exact("linzhi")
    child.expect_exact("请选择：")
    child.sendline("9")
    child.expect_exact("按 Enter 回到首页：")
    child.sendline("")
    child.expect_exact("请选择：")
    child.sendline("0")
    assert ended(child) == 0
    assert calls(tmp_path) == [["-m", "wizard.entries"]]


def test_an_environment_that_stands_is_known(ready_house: Path, tmp_path: Path) -> None:
    """Its own Python is found where PATH has none, and the page says what state it is in."""
    more = {"TRAIN_TO_OLLAMA_HOME": tmp_path / "runs", "OLLAMA_HOST": NOBODY, "PATH": tools_only(tmp_path / "bin")}
    stands = run(ready_house / "quick_start.sh", **more)
    assert (stands.returncode, "第一次来" in stands.stdout) == (2, True), stands.stderr
    assert "环境" not in stands.stdout
    (ready_house / "requirements.txt").write_text("torch>=2.6\nbiscuit>1\n", encoding="utf-8")
    outdated = run(ready_house / "quick_start.sh", **more)
    assert (outdated.returncode, "程序更新过" in outdated.stdout) == (2, True), outdated.stderr


TYPED = (
    "1 --yes",
    "3 zzhua --yes",
    "4 zzhua --run 2",
    "5 --seed 1",
    "6 zzhua",
    "6 --json",
    "7 zzhua --run 2",
    "8 --yes",
    "9",
)


@pytest.mark.parametrize("typed", TYPED)
def test_a_number_starts_the_same_from_the_front_page_and_from_the_shell(
    house: Path, tmp_path: Path, typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = noting_python(tmp_path)
    run(house / "quick_start.sh", *typed.split(), TRAIN_TO_OLLAMA_PYTHON=python)
    monkeypatch.setattr(sys, "executable", "python3")
    number, *rest = typed.split()
    assert words_for(number, rest) == ["python3", *noted(tmp_path)]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 2),
        (("1",), 2),
        (("3",), 2),
        (("3", "zzhua"), 5),
        (("4",), 2),
        (("4", "zzhua"), 2),
        (("6",), 0),
        (("6", "zzhua"), 0),
        (("7",), 2),
        (("7", "zzhua"), 5),
        (("9",), 0),
        (("0",), 0),
        (("5", "--epochs", "two"), 2),
        (("demo", "--epochs", "two"), 2),
        (("8",), 0),
        (("2",), 0),
    ],
    ids=str,
)
@pytest.mark.parametrize("installed", ["all", "python", "nothing"])
def test_every_number_ends_by_itself_where_nobody_answers(
    house: Path, tmp_path: Path, words: tuple[str, ...], code: int, installed: str
) -> None:
    more: dict[str, str | Path] = {"TRAIN_TO_OLLAMA_HOME": tmp_path / "runs", "OLLAMA_HOST": NOBODY}
    if installed == "all":
        more["TRAIN_TO_OLLAMA_PYTHON"] = sys.executable
    elif installed == "nothing":
        code = 2
    else:
        if words[:1] in (("1",), ("2",), ("5",), ("8",), ("demo",)) or (words[1:] == ("zzhua",) and words[0] != "6"):
            code = 2  # what needs an environment can't load what that takes
        more |= {"PYTHON": python_without_pip(tmp_path / "bare"), "PIP_NO_INDEX": "1"}
    path = tools_only(tmp_path / "bin")
    done = run(house / "quick_start.sh", *words, PATH=path, **more)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("train_to_ollama.py",), 2),
        (("train_to_ollama.py", "--help"), 0),
        (("train_to_ollama.py", "--history"), 0),
        (("train_to_ollama.py", "--ollama_name", "zzhua", "--continue_train"), 5),
        (("train_to_ollama.py", "--ollama_name", "zzhua", "--chat"), 5),
        (("train_to_ollama.py", "--chat"), 2),
        (("-m", "wizard.status"), 0),
        (("-m", "wizard.home"), 2),
        (("-m", "wizard.home", "3"), 2),
        (("-m", "wizard.home", "9"), 0),
        (("-m", "wizard.demo", "--epochs", "two"), 2),
    ],
    ids=str,
)
def test_every_entry_of_python_ends_by_itself_where_nobody_answers(
    house: Path, tmp_path: Path, words: tuple[str, ...], code: int
) -> None:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=house,
        env=environment(TRAIN_TO_OLLAMA_HOME=tmp_path / "runs", OLLAMA_HOST=NOBODY),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert not (tmp_path / "runs").exists()


def test_9_shows_what_the_machine_has(house: Path, tmp_path: Path) -> None:
    History(tmp_path / "runs").begin("linzhi")
    more = {"TRAIN_TO_OLLAMA_HOME": tmp_path / "runs", "OLLAMA_HOST": NOBODY}
    done = run(house / "quick_start.sh", "9", TRAIN_TO_OLLAMA_PYTHON=sys.executable, **more)
    assert done.returncode == 0, done.stderr
    # the package's version: a build's own mark (2.13.0+cu130) may stand in torch.__version__ alone
    assert f"torch {importlib.metadata.version('torch')}," in done.stdout
    assert "ollama.invalid 这个名字找不到地址" in done.stdout
    assert "1 个有训练记录：linzhi" in done.stdout
