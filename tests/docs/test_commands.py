"""Every command that a page shows is run: on tiny models, as a script runs it, and at a terminal where it asks."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from ollama_export.server.client import OllamaClient
from pipeline.request import Request
from tests.docs.blocks import PAGES, Block, Command, blocks, commands_of
from tests.docs.exceptions import NOT_RUN, ONLY_ASKED, OTHER_PROGRAMS, OTHER_SYSTEMS
from tests.docs.house import House, copy_of, furnished
from tests.support.project import ROOT
from tests.support.terminal import CTRL_C
from wizard.command_line import parse
from wizard.entries.table import LEAVE, find

PLAIN = ("text", "json", "jsonl", "yaml", "ini", "dockerfile")
"""Languages of blocks that nobody runs."""
BLOCKS = [block for page in PAGES for block in blocks(page)]
TRAIN = ("python", "train_to_ollama.py")
ASKS = {
    "": "请选择",
    "1": "教它哪些对话",
    "3": "哪里不满意",
    "4": "训练前 / 训练后",
    "6": "轮数",
    "8": "占",
    "7": "zzhua",
    "9": "Python",
}
"""Entries of quick_start.sh, and what is seen when they are chosen; of others a question."""
ELSE = "?"
LOOKS = ("register_only", "rollback", "verify", "history", "chat", "compare_only", "report", "resume", "pack")
"""Flags that train nothing, or only what was begun: such commands are run to their end, others up to their plan."""


def shown() -> dict[Command, list[Block]]:
    """The commands, each with the blocks in which it stands."""
    found: dict[Command, list[Block]] = {}
    for block in BLOCKS:
        for command in commands_of(block.text) if block.language == "bash" else ():
            found.setdefault(command, []).append(block)
    return found


def excepted(command: Command) -> str | None:
    """The row of the exceptions that a command falls under."""
    line = " ".join(command.words).strip()
    if command.words[0] in OTHER_PROGRAMS:
        return command.words[0]
    if line == "./quick_start.sh test":
        return line
    return next((row for row in NOT_RUN if row != "./quick_start.sh test" and line.startswith(row)), None)


COMMANDS = shown() if sys.platform == "linux" else {}
"""It takes a bash of these years, which macOS doesn't ship."""
RUN = [command for command in COMMANDS if excepted(command) is None]
pytestmark = pytest.mark.linux


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with furnished(tmp_path_factory.mktemp("文档 docs") / "家 house") as house:
        yield house


@pytest.fixture
def house(trained: House, tmp_path: Path) -> Iterator[House]:
    with copy_of(trained, tmp_path / "家 house") as house:
        yield house


def of(*beginning: str) -> list[Command]:
    """The commands that are run and begin so."""
    return [command for command in RUN if command.words[: len(beginning)] == beginning]


def told(command: Command) -> str:
    return str(command).replace("train_to_ollama.py ", "")


@pytest.mark.parametrize("command", of(*TRAIN), ids=told)
def test_a_command_of_the_program_does_what_it_says(house: House, command: Command) -> None:
    words = command.words[2:]
    request = parse(words)
    is_about_none = request.history or request.adopt or request.import_ or request.mend or request.data_desk
    assert request.ollama_name is not None or is_about_none
    if request.resume:
        house.interrupted("--ollama_name", str(request.ollama_name), "--force", "--yes", "--no_compare")
    if request.import_:
        brought_in(house, words, request)
        return
    if request.mend:
        # that of a page is downloaded
        base = str(house.program.base)
        here = (base if before == "--base_model" else word for before, word in pairwise(("", *words)))
        assert house.program.run_bare(*here)["status"] in ("done", "fine")
        return
    if request.adopt:
        words = arrived(house, words)
    elif house.history.newest(str(request.ollama_name)) is None and not is_about_none:
        words += ("--base_model", str(house.program.base))
    if trains(request):
        words += ("--dry_run",)
    done = house.program.run_bare(*(word for word in words if word != "--json"), expect=(0, 2))
    if done["exit_code"] == 2:  # a script is told what is missing, a person is asked
        assert done["error"]["key"] in ("error.decision_needed", "error.draft.unseen"), done
        with house.at_terminal((sys.executable, command.words[1], *words), TRAIN_TO_OLLAMA_LANG="zh") as terminal:
            terminal.wait_for("? ").send(CTRL_C)
            assert terminal.finish() == 3, terminal.everything


def brought_in(house: House, words: tuple[str, ...], request: Request) -> None:
    """A page's chat log becomes rows; who isn't told in it is asked for."""
    done = house.program.run_bare(*words, expect=0 if request.character else 2)
    if request.character:
        assert done["added"] > 0 and Path(house.folder, done["file"]).is_file()
        return
    assert done["error"]["key"] == "error.import.character"
    with house.at_terminal((sys.executable, "train_to_ollama.py", *words), TRAIN_TO_OLLAMA_LANG="zh") as terminal:
        terminal.wait_for("谁是你的角色").send(CTRL_C)
        assert terminal.finish() == 3, terminal.everything


def arrived(house: House, words: tuple[str, ...]) -> tuple[str, ...]:
    """What adopts a run that was packed elsewhere, and where its base model lies here."""
    packed = house.program.run_bare("--ollama_name", "linzhi", "--pack")
    assert packed["exit_code"] == 0 and (house.folder / words[1]).is_file()
    shutil.rmtree(house.history.home / "linzhi")
    OllamaClient(house.program.environment["OLLAMA_HOST"]).delete("linzhi")
    base = str(house.program.base)
    if "--base_model" not in words:  # that of a page is downloaded
        return (*words, "--base_model", base)
    return (*(base if "/models/" in word else word for word in words),)


def trains(request: Request) -> bool:
    looks = any(getattr(request, name) for name in (*LOOKS, "adopt", "data_desk")) or request.only_notes
    return not looks and not request.dry_run


@pytest.mark.parametrize("command", of("./quick_start.sh"), ids=told)
def test_an_entry_of_quick_start_shows_what_it_is_for(house: House, command: Command) -> None:
    entry = command.words[1] if len(command.words) > 1 else ""
    if entry == "test":
        collected(command)
        return
    # bash, since a checkout may have lost the bit that lets the file be run
    with house.at_terminal(
        ("bash", *command.words), TRAIN_TO_OLLAMA_LANG="zh", **dict(command.environment)
    ) as terminal:
        terminal.wait_for(ASKS.get(entry, ELSE))
        if entry != "9":
            terminal.settled().send(CTRL_C)
        assert terminal.finish() in (0, 3, 130), terminal.everything
        assert "Traceback" not in terminal.everything


def collected(command: Command) -> None:
    """The tests that a command would run are there."""
    words = [sys.executable, "-m", "pytest", *command.words[2:], "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=300, check=False)
    assert done.returncode == 0 and re.search(r"[1-9]\d* tests? collected|[1-9]\d*/\d+ tests", done.stdout), done.stdout


@pytest.mark.parametrize("command", of("python", "-m"), ids=told)
def test_a_module_starts_with_what_a_page_gives_it(command: Command) -> None:
    module = command.words[2]
    assert importlib.util.find_spec(module) is not None
    words = [*command.words[3:], *(["--help"] if module in ONLY_ASKED else [])]
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_else_is_shown_than_what_is_run_or_excepted() -> None:
    known = {*of(*TRAIN), *of("./quick_start.sh"), *of("python", "-m")}
    assert [str(command) for command in RUN if command not in known] == []
    assert {block.language for block in BLOCKS} <= {"bash", *PLAIN, *OTHER_SYSTEMS}


def test_the_list_of_exceptions_is_short_and_each_has_its_reason() -> None:
    found = {excepted(command) for command in COMMANDS}
    modules = {command.words[2] for command in COMMANDS if command.words[:2] == ("python", "-m")}
    lists = (OTHER_PROGRAMS, NOT_RUN, ONLY_ASKED, OTHER_SYSTEMS)
    assert {*OTHER_PROGRAMS, *NOT_RUN} <= found and set(ONLY_ASKED) <= modules
    assert all(len(reason.split()) > 1 for reasons in lists for reason in reasons.values())
    assert sum(map(len, lists)) <= 20
    assert len(RUN) > 40


def inline() -> list[tuple[str, str]]:
    """Commands in the midst of sentences: the page and the words."""
    pattern = r"`((?:\./quick_start\.sh|python (?:train_to_ollama\.py|-m)|ollama(?= ))[^`\n]*)`"
    found = []
    for page in PAGES:
        prose = re.sub(r"^\s*```.*?^\s*```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        found += [(page.name, match) for match in re.findall(pattern, prose)]
    return found


@pytest.mark.parametrize(("page", "text"), sorted({*inline()}) if sys.platform == "linux" else [])
def test_a_command_in_a_sentence_is_one_that_there_is(page: str, text: str) -> None:
    (command,) = commands_of(re.sub(r"[<>|]|……|…", "", text))
    words = command.words
    if words[:2] == TRAIN:
        assert {*words} & {"--help", "--version"} or parse(words[2:])
    elif words[:2] == ("python", "-m"):
        assert importlib.util.find_spec(words[2]) is not None, page
    elif words[0] == "./quick_start.sh":
        assert words[1:2] == () or words[1] in (LEAVE, "--help") or find(words[1]) is not None, page
    else:
        assert words[1] in ("run", "create", "serve", "list", "show", "rm", "pull", "cp", "ps", "stop"), page


def test_bash_finds_no_program_while_commands_are_taken_down(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    taken = commands_of(f"for n in 1 2; do X=$n touch '{mark}' \"a b\" </dev/null; done  # 注释\nls | wc -l")
    assert [str(command) for command in taken[:2]] == [f"X={n} touch {mark} a b" for n in (1, 2)]
    assert {command.words[0] for command in taken[2:]} == {"ls", "wc"} and not mark.exists()
    assert shutil.which("touch") is not None
