"""The README and docs/ say what the program is."""

from __future__ import annotations

import re
import shlex

import pytest

from bench.gpu.__main__ import make_parser
from lora_trainer import errors
from pipeline.flags import FLAGS
from tests.support.project import ROOT
from wizard.command_line import parse
from wizard.entries.table import LEAVE, find
from wizard.screen.layout import cells

READMES = ("README.md", "README.en.md")
PAGES = tuple(ROOT / name for name in (*READMES, "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md"))
PAGES += tuple(sorted((ROOT / "docs").rglob("*.md")))
FLAG_PAGE = (ROOT / "docs" / "flags.md").read_text(encoding="utf-8")
HOUSE = (ROOT / "docs" / "house.md").read_text(encoding="utf-8")


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", READMES)
def test_a_readme_shows_on_its_first_screen_what_it_is_and_the_two_commands(page: str) -> None:
    first = read(page).partition("\n## ")[0].partition("![")[0].splitlines()
    assert all(cells(line) <= 80 for line in first), [line for line in first if cells(line) > 80]
    assert len(first) <= 30
    (block,) = re.findall(r"```bash\n(.*?)```", "\n".join(first), re.DOTALL)
    assert [line.split("#")[0].strip() for line in block.splitlines()] == ["./quick_start.sh demo", "./quick_start.sh"]
    assert sum(len(line) < 80 and line.startswith((" 问 ", " Q ")) for line in first) == 3
    # whoever changes the program finds how it is tested
    assert "\n./quick_start.sh test\n" in read(page)


def test_both_readmes_and_both_guides_have_the_same_parts() -> None:
    for chinese, english in (READMES, ("docs/guide.zh.md", "docs/guide.en.md")):
        parts = [
            [len(head) for head in re.findall(r"^#+(?= )", read(page), re.MULTILINE)] for page in (chinese, english)
        ]
        blocks = [len(re.findall(r"^```bash", read(page), re.MULTILINE)) for page in (chinese, english)]
        pictures = [re.findall(r"pictures/(\w+)", read(page)) for page in (chinese, english)]
        assert parts[0] == parts[1] and blocks[0] == blocks[1] and pictures[0] == pictures[1]


def test_every_flag_has_a_row_and_every_row_a_flag() -> None:
    rows = re.findall(r"^\| (`--.*)$", FLAG_PAGE, re.MULTILINE)
    named = [flag for row in rows for flag in re.findall(r"`--(\w+)", re.split(r"(?<!\\)\|", row)[0])]
    assert sorted(named) == sorted(flag.option[2:] for flag in FLAGS)


def shown_commands(page: str, program: str) -> list[list[str]]:
    """The words behind `program` in every line of a page that is a command."""
    text = read(page).replace("$rank", "8").replace("</dev/null", "")
    lines = re.findall(rf"^\s*{re.escape(program)}( .*)?$", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("page", [*READMES, "docs/guide.zh.md", "docs/guide.en.md"])
def test_every_command_that_is_shown_is_understood(page: str) -> None:
    commands = shown_commands(page, "python train_to_ollama.py")
    assert len(commands) > 3
    for command in commands:
        assert parse(command).ollama_name, command


@pytest.mark.parametrize("page", [*READMES, "docs/guide.zh.md", "docs/guide.en.md"])
def test_every_command_of_quick_start_that_is_shown_is_one_that_it_knows(page: str) -> None:
    commands = shown_commands(page, "./quick_start.sh")
    assert len(commands) > 1
    assert [words[0] for words in commands if words and words[0] != LEAVE and find(words[0]) is None] == []


def test_every_flag_that_a_page_speaks_of_exists() -> None:
    known = {flag.option[2:] for flag in FLAGS} | {"help", "version"}
    benchs = {text.lstrip("-") for action in make_parser()._actions for text in action.option_strings}
    for page in PAGES:
        spoken = set(re.findall(r"`--(\w+)", page.read_text(encoding="utf-8")))
        assert spoken <= (known | benchs if page.name == "gpu.md" else known), page.name


def test_every_file_and_folder_of_the_annotated_tree_is_there() -> None:
    tree = HOUSE.rpartition("```\n")[0].rpartition("```text\n")[2]
    folder, found = ROOT, []
    for line in tree.splitlines():
        if line.startswith("   "):
            continue  # the words of the line above go on
        for name in re.match(r"[ \w./]*?(?=  |$)", line.lstrip()).group().split():  # type: ignore[union-attr]
            path = (folder if line.startswith(" ") else ROOT) / name
            found.append(path)
            if name.endswith("/") and not line.startswith(" "):
                folder = path
    assert len(found) > 20
    assert [path for path in found if not path.exists()] == []
    rooms = {
        path.parent
        for room in ("lora_trainer", "ollama_export", "data_desk", "pipeline")
        for path in ROOT.glob(f"{room}/*/*.py")
    }
    assert rooms - set(found) == set()


def test_every_link_inside_the_project_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_link_inside_a_page_leads_to_a_heading() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        heads = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
        # as GitHub makes anchors of headings
        anchors = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
        assert {*re.findall(r"\]\(#([^)]+)\)", text)} <= anchors, page.name


CODES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 130]


def test_every_exit_code_is_explained() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.UserError)]
    assert {0, 1, *(kind.exit_code for kind in kinds)} == set(CODES)
    (line,) = [line for line in FLAG_PAGE.splitlines() if line.startswith("退出码：")]
    page = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    assert [int(code) for code in re.findall(r"[：；](\d+) ", line)] == CODES
    assert [int(code) for code in re.findall(r"^\| (\d+) \| \S.* \| \S.* \|$", page, re.MULTILINE)] == CODES
    for language in ("zh", "en"):
        shown = (ROOT / "tests" / "wizard" / "golden" / f"help.{language}.txt").read_text(encoding="utf-8")
        said = " ".join(re.split("退出码：|Exit codes:", shown)[1].split())
        assert [int(code) for code in re.findall(r"(?:^|[；;] ?)(\d+) ", said)] == CODES


def test_requirements_lie_within_the_pins_that_the_tests_run_on() -> None:
    def names(file: str) -> dict[str, str]:
        lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
        found = (re.match(r"([A-Za-z][\w.-]*)(?:\[[\w,-]+\])?([^;#]*)", line) for line in lines)
        return {match[1].lower().replace("_", "-"): match[2].strip() for match in found if match}

    from packaging.specifiers import SpecifierSet

    pins = names("constraints.txt")
    assert all(pin.startswith("==") for pin in pins.values())
    for file in ("requirements.txt", "requirements-dev.txt"):
        for name, wanted in names(file).items():
            assert name in pins, f"{file}: {name} has no pin"
            assert pins[name][2:] in SpecifierSet(wanted), f"{file}: {name}"
