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

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_opens_with_the_two_commands() -> None:
    lines = [line.split("#")[0].strip() for line in README.splitlines() if line and not line.startswith(("#", "```"))]
    assert lines[:2] == ["./quick_start.sh demo", "./quick_start.sh test"]


def test_every_flag_has_a_row_and_every_row_a_flag() -> None:
    rows = re.findall(r"^\| (`--.*)$", README, re.MULTILINE)
    named = [flag for row in rows for flag in re.findall(r"`--(\w+)", re.split(r"(?<!\\)\|", row)[0])]
    assert sorted(named) == sorted(flag.name for flag in FLAGS)


def shown_commands(page: str, program: str) -> list[list[str]]:
    """The words behind `program` in every line of a page that is a command."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("$rank", "8").replace("</dev/null", "")
    lines = re.findall(rf"^\s*{re.escape(program)}( .*)?$", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("page", ["README.md", "docs/continue-training.md"])
def test_every_command_that_is_shown_is_understood(page: str) -> None:
    commands = shown_commands(page, "python train_to_ollama.py")
    assert len(commands) > 3
    for command in commands:
        assert parse(command).ollama_name, command


def test_every_command_of_quick_start_that_the_readme_shows_is_one_that_it_knows() -> None:
    commands = shown_commands("README.md", "./quick_start.sh")
    assert len(commands) > 1
    script = (ROOT / "quick_start.sh").read_text(encoding="utf-8")
    known = re.search(r'^  ([^)\n]*)\) action "\$@"', script, re.MULTILINE)
    assert known is not None
    assert {words[0] for words in commands if words} <= set(known[1].split(" | "))


def test_every_flag_that_a_page_speaks_of_exists() -> None:
    known = {flag.name for flag in FLAGS}
    benchs = {text.lstrip("-") for action in make_parser()._actions for text in action.option_strings}
    for page in (ROOT / "docs").glob("*.md"):
        spoken = set(re.findall(r"`--(\w+)", page.read_text(encoding="utf-8")))
        assert spoken <= (known | benchs if page.name == "gpu.md" else known), page.name


def test_every_file_and_folder_of_the_annotated_tree_is_there() -> None:
    tree = README.rpartition("```\n")[0].rpartition("```\n")[2]
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
        path.parent for room in ("lora_trainer", "ollama_export", "pipeline") for path in ROOT.glob(f"{room}/*/*.py")
    }
    assert rooms - set(found) == set()


def test_every_link_inside_the_project_leads_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


CODES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 130]


def test_every_exit_code_is_explained() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.UserError)]
    assert {0, 1, *(kind.exit_code for kind in kinds)} == set(CODES)
    (line,) = [line for line in README.splitlines() if line.startswith("退出码：")]
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
