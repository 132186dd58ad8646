"""quick_start.sh by real bash, real keys and a real pip, from a folder with spaces and Chinese in its name."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pexpect
import pytest

from pipeline.run.history import History
from tests.support.project import ROOT

KEEP = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")
NOBODY = "ollama.invalid:9"
"""No Ollama: a name that no server ever has, and that nobody would start one for."""
TOOLS = ("bash", "dirname", "readlink", "cat", "rm", "cp", "grep", "awk")


def environment(**more: str | Path) -> dict[str, str]:
    """A shell's environment with nothing of ours or pip's in it."""
    plain = {name: os.environ[name] for name in KEEP if name in os.environ}
    return plain | {"LANG": "C.UTF-8", "PIP_CONFIG_FILE": os.devnull} | {k: str(v) for k, v in more.items()}


def run(script: Path, *arguments: str, cwd: Path | None = None, **more: str | Path) -> subprocess.CompletedProcess[str]:
    """The script without a terminal, as continuous integration runs it."""
    return subprocess.run(
        ["bash", str(script), *arguments],
        cwd=cwd or "/",
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


def wheel(
    folder: Path, name: str, version: str = "1.0", requires: str = "", extra: dict[str, str] | None = None
) -> Path:
    """A package of one line, with all that pip asks of a wheel."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    head = "Metadata-Version: 2.1\nName: {}\nVersion: {}\n{}"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}/__init__.py", f"__version__ = {version!r}\n")
        file.writestr(f"{info}/METADATA", head.format(name, version, requires and f"Requires-Dist: {requires}\n"))
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
        for inner, text in (extra or {}).items():
            file.writestr(inner, text)
    return path


def make_small_house(folder: Path) -> Path:
    """The script with requirements that are installed in a second, and their wheels beside it."""
    house = folder / "我的 模型 $HOME 'x'"
    house.mkdir()
    shutil.copy(ROOT / "quick_start.sh", house)
    (house / "requirements.txt").write_text("torch>=2.6\nbiscuit\n", encoding="utf-8")
    (house / "requirements-nodeps.txt").write_text("parrot\n", encoding="utf-8")
    (house / "constraints.txt").write_text("torch==2.13.0\nbiscuit==1.0\n", encoding="utf-8")
    wheel(folder / "wheels", "biscuit")
    wheel(folder / "wheels", "biscuit", "2.0")
    wheel(folder / "wheels", "parrot", requires="no-such-package")
    return house


def without_index(folder: Path, python: Path) -> dict[str, str | Path]:
    """Pip finds the wheels of a small house, and keeps a log of its calls."""
    wheels = (folder / "wheels").as_uri()
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels, "PIP_LOG": folder / "pip.log", "PYTHON": python}


@pytest.fixture
def small_house(tmp_path: Path) -> Path:
    """A small house in which nothing has run."""
    return make_small_house(tmp_path)


def python_without_pip(folder: Path, torch: str = "") -> Path:
    """A Python of its own that has nothing, or a (tiny) package torch of that version."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=120)
    python = folder / "bin" / "python"
    if torch:
        packages = folder / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
        with zipfile.ZipFile(wheel(folder / "wheels", "torch", torch)) as file:
            file.extractall(packages)
    return python


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


class Index(ThreadingHTTPServer):
    """A package index over a folder of wheels that counts what it was asked; with `silent` it never answers."""

    def __init__(self, folder: Path, silent: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.folder, self.silent = folder, silent
        self.asked: list[str] = []
        self.closing = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/simple"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Answering(BaseHTTPRequestHandler):
    """One request to an Index."""

    server: Index

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.server.silent:
            self.server.closing.wait()
            return
        name = self.path.rstrip("/").rpartition("/")[2]
        if name.endswith(".whl"):
            body = (self.server.folder / name).read_bytes()
        else:
            files = sorted(path.name for path in self.server.folder.glob(f"{name}-*.whl"))
            body = "".join(f'<a href="/files/{file}">{file}</a>' for file in files).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream" if name.endswith(".whl") else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def silent_index(tmp_path: Path) -> Iterator[Index]:
    """An index that takes calls and never answers."""
    index = Index(tmp_path / "wheels", silent=True)
    yield index
    index.closing.set()
    index.shutdown()


def answer(house: Path, code: str) -> str:
    """What the Python in .venv prints."""
    python = house / ".venv" / "bin" / "python"
    return subprocess.run([python, "-c", code], capture_output=True, encoding="utf-8", check=True).stdout.strip()


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


def test_a_killed_installation_begins_anew(
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
    leftover = ready_house / ".venv" / "half a package"
    leftover.touch()
    done = run(script, "setup", **offline)
    assert done.returncode == 0, done.stderr
    assert not leftover.exists()
    assert answer(ready_house, "import biscuit; print(biscuit.__version__)") == "2.0"


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
    assert done.returncode == 2
    passed_over, found_none = done.stderr.splitlines()
    assert passed_over.startswith(f"PYTHON={path}/python3 不是能用的 Python 3.11～3.13")
    assert found_none.startswith("❌ 没有找到 Python 3.11、3.12 或 3.13")
    assert not (small_house / ".venv").exists()


def test_a_python_without_ensurepip_is_told_how_debian_mends_it(small_house: Path, tmp_path: Path) -> None:
    lame = f'case "$*" in *ensurepip*) exit 1;; esac\nexec "{sys.executable}" "$@"'
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


def hear_ctrl_c() -> None:
    """A shell can't trap a signal that whoever started it ignores, as nohup and CI do."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def spawn(script: Path, *arguments: str, **more: str | Path) -> pexpect.spawn:
    """The script in a pseudo-terminal."""
    options = {"encoding": "utf-8", "timeout": 300, "echo": False, "dimensions": (40, 120), "preexec_fn": hear_ctrl_c}
    return pexpect.spawn("bash", [str(script), *arguments], env=environment(**more), cwd="/", **options)


def ended(child: pexpect.spawn) -> int:
    """Wait for the end: the exit code."""
    child.expect(pexpect.EOF)
    child.close()
    assert child.signalstatus is None
    return int(child.exitstatus or 0)


def test_the_menu_comes_without_any_python_asks_again_and_leaves_with_0(house: Path, tmp_path: Path) -> None:
    child = spawn(house / "quick_start.sh", PATH=tools_only(tmp_path / "bin"))
    child.expect_exact("3) 🔄 继续训练已有模型")
    child.expect_exact("请选择：")
    child.sendline("8")
    child.expect_exact("没有这个选项，请输入 1、3、6、7、9 或 0。")
    child.expect_exact("请选择：")
    child.sendline("")
    child.expect_exact("没有这个选项")
    child.expect_exact("请选择：")
    child.sendline("0")
    assert ended(child) == 0
    assert not (house / ".venv").exists()


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
    assert "./quick_start.sh 3 [名称]" in done.stderr


def test_an_unknown_command_shows_the_usage(house: Path) -> None:
    done = run(house / "quick_start.sh", "--lang", "en", "frobnicate")
    assert done.returncode == 2
    assert "./quick_start.sh test" in done.stderr
    assert run(house / "quick_start.sh", "--help").stdout.startswith("用法：")


def test_3_with_a_name_goes_straight_to_the_entry_through_a_symlink(
    house: Path, recorder: Path, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    link = tmp_path / "bin" / "train"
    link.symlink_to(Path("..") / house.name / "quick_start.sh")
    home = {"TRAIN_TO_OLLAMA_HOME": tmp_path / "runs", "OLLAMA_HOST": NOBODY}
    done = run(link, "3", "zzhua", "--system", "两个 词", "--yes", TRAIN_TO_OLLAMA_PYTHON=recorder, **home)
    wanted = ["train_to_ollama.py", "--ollama_name", "zzhua", "--continue_train", "--system", "两个 词", "--yes"]
    assert calls(tmp_path) == [wanted]
    assert done.returncode != 0
    assert "OLLAMA_HOST" in done.stdout + done.stderr  # it can't be known whether there is such a model
    assert "Traceback" not in done.stdout + done.stderr


ARGUMENTS = ("two words", "", "--a=b", "*", "$HOME", "-x", "'\\")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["1"], ["train_to_ollama.py"]),
        (["3", "zzhua"], ["train_to_ollama.py", "--ollama_name", "zzhua", "--continue_train"]),
        (["--lang", "en", "3", "zzhua"], ["train_to_ollama.py", "--ollama_name", "zzhua", "--continue_train"]),
        (["6"], ["train_to_ollama.py", "--history"]),
        (["7", "zzhua"], ["run", "zzhua"]),
        (["9"], ["-m", "wizard.status"]),
        (["demo"], ["-m", "wizard.demo"]),
        (["test"], ["-m", "pytest"]),
    ],
    ids=" ".join,
)
def test_every_command_passes_its_arguments_on_as_they_are(
    house: Path, tmp_path: Path, words: list[str], wanted: list[str]
) -> None:
    noting = f'for word; do printf "%s\\n" "$word"; done >"{tmp_path}/words"'
    path = tools_only(tmp_path / "bin", python3=noting, ollama=noting)
    done = run(house / "quick_start.sh", *words, *ARGUMENTS, TRAIN_TO_OLLAMA_PYTHON=path / "python3", PATH=path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "words").read_text(encoding="utf-8").splitlines() == [*wanted, *ARGUMENTS]


def test_1_6_and_demo_are_the_program_itself(house: Path, tmp_path: Path) -> None:
    more = {"TRAIN_TO_OLLAMA_HOME": tmp_path / "runs", "OLLAMA_HOST": NOBODY, "TRAIN_TO_OLLAMA_PYTHON": sys.executable}
    assert run(house / "quick_start.sh", "1", "--help", **more).stdout.startswith("用法：python train_to_ollama.py")
    history = run(house / "quick_start.sh", "6", "--json", **more)
    assert (history.returncode, history.stdout[:11]) == (0, '{"ok": true'), history.stderr
    demo = run(house / "quick_start.sh", "demo", "--epochs", "two", **more)
    assert (demo.returncode, "不能是「two」" in demo.stdout) == (2, True), demo.stderr


def test_7_talks_to_the_model_with_ollama(house: Path, recorder: Path, tmp_path: Path) -> None:
    path = tools_only(tmp_path / "bin", ollama='echo "talking: $*"')
    done = run(house / "quick_start.sh", "7", "zzhua", TRAIN_TO_OLLAMA_PYTHON=recorder, PATH=path)
    assert (done.returncode, done.stdout, calls(tmp_path)) == (0, "talking: run zzhua\n", [])
    path = tools_only(tmp_path / "no ollama")
    without = run(house / "quick_start.sh", "7", "zzhua", TRAIN_TO_OLLAMA_PYTHON=recorder, PATH=path)
    assert without.returncode == 5
    assert "--register_only" in without.stderr


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
    assert ended(child) == 2
    wanted = ["train_to_ollama.py", "--ollama_name", "zzhua", "--continue_train", "--add_epochs", "two words"]
    assert calls(tmp_path)[-1] == wanted


def test_7_without_a_name_lets_one_choose_and_keeps_the_arguments(house: Path, recorder: Path, tmp_path: Path) -> None:
    History(tmp_path / "runs").begin("linzhi")
    path = tools_only(tmp_path / "bin", ollama='echo "talking: $*"')
    more = {"TRAIN_TO_OLLAMA_HOME": tmp_path / "runs", "TRAIN_TO_OLLAMA_PYTHON": recorder, "PATH": path}
    child = spawn(house / "quick_start.sh", "7", "--verbose", **more)
    child.expect_exact("编号（0 返回）：")
    child.sendline("1")
    child.expect_exact("talking: run linzhi --verbose")
    assert ended(child) == 0


def test_the_menu_comes_back_after_a_choice(house: Path, recorder: Path, tmp_path: Path) -> None:
    more = {"TRAIN_TO_OLLAMA_HOME": tmp_path / "runs", "TRAIN_TO_OLLAMA_PYTHON": recorder, "OLLAMA_HOST": NOBODY}
    child = spawn(house / "quick_start.sh", **more)
    child.expect_exact("请选择：")
    child.sendline("7")
    child.expect_exact("还没有训练过的模型。先用 ./quick_start.sh 1 训练一个。")
    child.expect_exact("请选择：")
    child.sendline("6")
    child.expect_exact("请选择：")
    child.sendline("0")
    assert ended(child) == 0
    assert calls(tmp_path) == [["-m", "wizard.status", "--names"], ["train_to_ollama.py", "--history"]]


def test_9_shows_what_the_machine_has(house: Path, tmp_path: Path) -> None:
    History(tmp_path / "runs").begin("linzhi")
    more = {"TRAIN_TO_OLLAMA_HOME": tmp_path / "runs", "OLLAMA_HOST": NOBODY}
    done = run(house / "quick_start.sh", "9", TRAIN_TO_OLLAMA_PYTHON=sys.executable, **more)
    assert done.returncode == 0, done.stderr
    # the package's version: a build's own mark (2.13.0+cu130) may stand in torch.__version__ alone
    assert f"torch {importlib.metadata.version('torch')}," in done.stdout
    assert "ollama.invalid 这个名字找不到地址" in done.stdout
    assert "1 个有训练记录：linzhi" in done.stdout
