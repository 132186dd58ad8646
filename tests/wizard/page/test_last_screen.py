"""The last screen names the page, as a link where the terminal knows of links, and the command that opens it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.request import Request
from tests.wizard.test_commands import summary
from wizard.command_line import parse
from wizard.screen import tables
from wizard.screen.screen import BLOCKS
from wizard.screen.tables import Summary, next_steps, summary_facts
from wizard.words import t


def shown(told: Summary, *, terminal: bool) -> str:
    """The facts as they are written."""
    console = Console(force_terminal=terminal, width=200, color_system="standard" if terminal else None)
    with console.capture() as written:
        console.print(summary_facts(told, BLOCKS, 200))
    return written.get()


def test_the_page_is_a_link_on_a_terminal_and_a_plain_path_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "运行 runs" / "1" / "report.html"
    link = f";{path.as_uri()}\x1b\\"
    assert link in shown(summary(report=path), terminal=True)
    plain = shown(summary(report=path), terminal=False)
    assert str(path) in plain and t("summary.report") in plain and "\x1b" not in plain
    assert t("summary.report") not in shown(summary(report=None), terminal=False)


@pytest.mark.parametrize("registered", [True, False])
def test_at_a_desk_the_command_that_opens_it_is_told(registered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    told = summary(registered=registered, folder=Path("runs/zz/7"), report=Path("runs/zz/7/report.html"))
    monkeypatch.setattr(tables, "can_open", lambda: False)
    without = next_steps(told).splitlines()
    monkeypatch.setattr(tables, "can_open", lambda: True)
    (line,) = [line for line in next_steps(told).splitlines() if line not in without and line.startswith("  ")]
    assert parse(shlex.split(line)[2:]) == Request(ollama_name="林/zz", report=True, run=7)
    assert next_steps(summary(report=None)).count("--report") == 0
