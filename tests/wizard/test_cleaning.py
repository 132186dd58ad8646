"""The clean-up as people and scripts meet it: a list to tick, lines without a terminal; never more than was chosen."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ollama_export.server.client import OllamaClient
from tests.ollama_server.server import OllamaServer
from tests.support.past_runs import record_run
from tests.support.program import Program
from tests.support.project import ROOT
from tests.support.terminal import CTRL_C, DOWN, ENTER, ESCAPE, Terminal
from wizard.screen.layout import cells


@pytest.fixture
def home(tmp_path: Path, ollama_server: OllamaServer) -> Program:
    """A character with two runs, an old unfinished one, and what a killed process has left."""
    program = Program(tmp_path / "家 home", ollama_server.url, rows=4)
    runs = program.history.home
    for created, checkpoint in (("2026-01-01", 40), ("2026-02-01", 60)):
        run = record_run(runs, f"{created}T10:00:00+00:00", 2.0, checkpoint=checkpoint)
        fill(run.folder / "checkpoints" / f"checkpoint-{checkpoint}" / "optimizer.pt", 3_000_000)
        fill(run.folder / "adapter" / "adapter_model.safetensors", 1000)
    record_run(runs, "2026-03-01T10:00:00+00:00", 5.0, trained=False, status="interrupted", checkpoint=9)
    fill(run.folder / "linzhi.gguf.part", 2_000_000)
    # what the tests beside these have left in the machine's own folders isn't to be found
    for variable, name in (("HF_HUB_CACHE", "hub"), ("MODELSCOPE_CACHE", "ms"), ("TMPDIR", "temporary")):
        program.environment[variable] = str(tmp_path / name)
    (tmp_path / "temporary").mkdir()
    return program


def fill(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))


def numbers(home: Program) -> list[int]:
    return [run.number for run in home.history.runs("linzhi")]


def talk(home: Program, *flags: str, columns: int = 80, language: str = "zh") -> Terminal:
    said = {**home.environment, "TRAIN_TO_OLLAMA_LANG": language}
    return Terminal([str(ROOT / "train_to_ollama.py"), "--clean", *flags], columns=columns, environment=said)


def test_without_a_terminal_it_is_listed_and_nothing_goes(home: Program) -> None:
    before = sorted(home.history.home.rglob("*"))
    told = home.run_bare("--clean")
    assert told["status"] == "listed" and told["freed"] == 0 and told["ollama"] is True
    assert [(thing["kind"], thing["runs"], thing["safe"]) for thing in told["things"]] == [
        ("leftovers", [], True),
        ("checkpoints", [1, 2], False),
        ("unfinished", [3], False),
    ]
    assert sorted(home.history.home.rglob("*")) == before


def test_scripts_take_only_what_nobody_can_miss(home: Program) -> None:
    told = home.run_bare("--clean", "--yes")
    assert told["status"] == "done" and [thing["kind"] for thing in told["removed"]] == ["leftovers"]
    assert told["freed"] == 2_000_000 and numbers(home) == [1, 2, 3]
    assert not list(home.history.home.rglob("*.part")) and list(home.history.home.rglob("optimizer.pt"))
    assert home.run_bare("--clean", "--yes", "--ollama_name", "linzhi")["removed"] == []


def test_an_ollama_that_is_down_is_said(home: Program, ollama_server: OllamaServer) -> None:
    ollama_server.stop()
    told = home.run_bare("--clean")
    assert told["ollama"] is False and "doesn't answer" in told["shown"]


@pytest.mark.parametrize(("columns", "language"), [(80, "zh"), (60, "zh"), (80, "en"), (60, "en")])
def test_the_list_fits_and_only_what_is_ticked_goes(home: Program, columns: int, language: str) -> None:
    with talk(home, columns=columns, language=language) as terminal:
        terminal.wait_for("[x]").settled()
        shown = terminal.screen
        assert all(cells(line) <= columns for line in shown.splitlines())
        ticked = [line for line in shown.splitlines() if "[x]" in line]
        assert len(ticked) == 2 and shown.count("[ ]") == 1
        # the checkpoints in place of the unfinished training
        terminal.send(DOWN, " ").send(DOWN, " ").send(ENTER)
        terminal.wait_for("不能撤销" if language == "zh" else "no way back").settled()
        assert "8 MB" in terminal.screen
        terminal.send("y", ENTER)
        assert terminal.finish() == 0
    assert numbers(home) == [1, 2, 3] and not list(home.history.home.rglob("*.part"))
    assert not list(home.history.home.rglob("optimizer.pt"))


def test_enter_twice_without_a_yes_deletes_nothing(home: Program) -> None:
    before = sorted(path for path in home.history.home.rglob("*") if path.name not in ("lock", "holder.json"))
    with talk(home) as terminal:
        terminal.wait_for("[x]").settled().send(ENTER)
        terminal.wait_for("不能撤销").send(ENTER)
        assert terminal.finish() == 3
    for keys in (ESCAPE, CTRL_C):
        with talk(home) as terminal:
            terminal.wait_for("[x]").settled().send(keys)
            assert terminal.finish() == (0 if keys == ESCAPE else 3)
    assert sorted(p for p in home.history.home.rglob("*") if p.name not in ("lock", "holder.json")) == before


def test_a_character_goes_whole_when_its_name_was_typed(
    home: Program, tiny_gguf: Path, ollama_server: OllamaServer
) -> None:
    client = OllamaClient(ollama_server.url)
    client.create_from_file("linzhi", tiny_gguf, hashlib.sha256(tiny_gguf.read_bytes()).hexdigest())
    client.copy("linzhi", "linzhi:backup-20260101-1")
    with talk(home) as terminal:
        terminal.wait_for("[x]").settled().send("d")
        terminal.wait_for("整个删掉哪一个角色").settled().send(ENTER)
        terminal.wait_for("不能撤销").send("y", ENTER)
        terminal.wait_for("再打一遍").send("linzh", ENTER)
        terminal.wait_for("和名字不一样")
        assert numbers(home) == [1, 2, 3] and client.exists("linzhi")
        terminal.send("i", ENTER)
        terminal.wait_for("「linzhi」整个删掉了").settled().send(ESCAPE)
        assert terminal.finish() == 0
    assert client.tags() == [] and home.history.names() == []
