"""Dialogues longer than a training takes are cut at a turn's end: by scripts, and where the checks refuse them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Program
from tests.support.project import ROOT
from tests.support.terminal import CTRL_C, ENTER, ESCAPE, Terminal
from wizard.screen.layout import cells

SYSTEM = {"role": "system", "content": "你是林栀。"}
LIMIT = ("--max_length", "100")


def talk(number: int, *lengths: int, system: bool = True) -> list[dict[str, Any]]:
    """Turns of so many characters."""
    turns: list[dict[str, Any]] = [SYSTEM] if system else []
    for at, length in enumerate(lengths):
        turns.append({"role": ("user", "assistant")[at % 2], "content": f"{number}：" + "a" * length})
    return turns


@pytest.fixture
def home(tmp_path: Path) -> Program:
    program = Program(tmp_path / "家 home", rows=2)
    (program.data / "val.jsonl").unlink()
    return program


def write(home: Program, *rows: dict[str, Any], name: str = "train.jsonl") -> bytes:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (home.data / name).write_text(text, encoding="utf-8")
    return text.encode()


def read(home: Program, name: str = "train.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home.data / name).read_text(encoding="utf-8").splitlines()]


def mend(home: Program, *flags: str, expect: int = 0) -> dict[str, Any]:
    given = ("--base_model", str(home.base), "--data_dir", str(home.data), *LIMIT)
    return home.run_bare("--mend", *given, *flags, expect=expect)


def refused(home: Program, *flags: str) -> list[tuple[str, int, str]]:
    """What a training says of the rows before it begins: file, line and what is wrong."""
    given = ("--ollama_name", "linzhi", "--base_model", str(home.base), "--data_dir", str(home.data), *LIMIT)
    told = home.run_bare("--dry_run", "--no_register", "--yes", *given, *flags, expect=(0, 4))
    found = told.get("error", {}).get("findings", ())
    # rows that are split off for validation are told behind the others
    return sorted((Path(each["file"]).name, each["line"], each["message"]) for each in found)


# --- scripts


def test_a_script_cuts_what_a_training_refuses_and_leaves_what_it_takes(home: Program) -> None:
    rows = [{"messages": talk(number, 10, number, 2, number), "id": number} for number in range(10, 40)]
    before = write(home, *rows)
    write(home, rows[-1], name="val.jsonl")
    faults = refused(home)
    lines = [line for name, line, _ in faults if name == "train.jsonl"]
    # some are just short enough
    assert all("more than the limit of 100" in said for *_, said in faults) and 5 < len(lines) < 25
    told = mend(home)
    train, val = told["files"]
    assert [(each["repair"], each["lines"]) for each in train["repairs"]] == [("too_long", lines)]
    assert [(each["repair"], each["lines"]) for each in val["repairs"]] == [("too_long", [1])]
    assert Path(train["backup"]).read_bytes() == before and told["status"] == "done"
    for number, (row, now) in enumerate(zip(rows, read(home), strict=True), 1):
        assert now == ({**row, "messages": row["messages"][:3]} if number in lines else row)
    place = train["repairs"][0]["places"][0]
    assert len(place["before"]) > len(place["after"]) and "cut dialogues that are too long" in told["shown"]
    assert refused(home) == [] and mend(home)["status"] == "fine"


def test_what_cant_be_cut_is_named_with_its_line_and_is_exit_code_four(home: Program) -> None:
    pair = {"question": "a" * 200, "answer": "b"}
    write(home, {"messages": talk(1, 20, 20)}, {"messages": talk(2, 200, 5, 5, 5)}, pair)
    told = mend(home, expect=4)
    found = [(Path(each["file"]).name, each["line"], each["message"]) for each in told["error"]["findings"]]
    assert [line for _, line, _ in found] == [2, 3]
    assert told["files"][0]["faults"] == 2 and told["files"][0]["backup"] is None
    assert refused(home) == found


@pytest.mark.parametrize("prompt", [None, "most have it", "--system", "--no_system"])
def test_the_system_prompt_that_a_training_would_add_or_take_away_counts(home: Program, prompt: str | None) -> None:
    plain = [{"messages": talk(number, 10, 10, 10, number, system=False)} for number in range(10, 35)]
    long = {"role": "system", "content": "s" * 35}
    if prompt in ("most have it", "--no_system"):
        plain += [{"messages": [long, *talk(number, 5, 5, system=False)]} for number in range(3)]
    said = {"--system": ("--system", "s" * 35), "--no_system": ("--no_system",)}.get(prompt or "", ())
    flags = ("--max_length", "130", *said)
    write(home, *plain)
    lines = [line for _, line, _ in refused(home, *flags)]
    assert bool(lines) is (prompt in ("most have it", "--system")) and len(lines) < 20
    told = mend(home, *flags)
    assert [line for each in told["files"][0]["repairs"] for line in each["lines"]] == lines
    assert refused(home, *flags) == []


def test_without_a_base_model_it_isnt_known_what_is_too_long(home: Program) -> None:
    write(home, {"messages": talk(1, 20, 20, 2000, 20)})
    assert home.run_bare("--mend", "--data_dir", str(home.data))["status"] == "fine"
    for flags in (LIMIT, ("--system", "a"), ("--no_system",)):
        told = home.run_bare("--mend", "--data_dir", str(home.data), *flags, expect=2)
        assert told["error"]["key"] == "error.flag.needs" and "--base_model" in told["error"]["message"]
    told = home.run_bare("--mend", "--ollama_name", "nobody", "--data_dir", str(home.data), *LIMIT, expect=2)
    assert told["error"]["key"] == "error.flag.needs"
    # the default is that of a training
    given = ("--base_model", str(home.base), "--data_dir", str(home.data))
    told = home.run_bare("--mend", *given)
    assert [each["repair"] for each in told["files"][0]["repairs"]] == ["too_long"]


def test_a_characters_base_model_and_limit_are_those_of_its_record(home: Program) -> None:
    write(home, *({"messages": talk(number, 10, 10)} for number in range(4)))
    home.run("--no_register", *LIMIT)
    long = {"messages": talk(9, 10, 10, 80, 10)}
    write(home, *({"messages": talk(number, 10, 10)} for number in range(4)), long)
    told = home.run_bare("--mend", "--ollama_name", "zzhua", "--max_length", "500")
    assert told["status"] == "fine"
    told = home.run_bare("--mend", "--ollama_name", "zzhua")
    assert [(each["repair"], each["lines"]) for each in told["files"][0]["repairs"]] == [("too_long", [5])]
    assert read(home)[4]["messages"] == long["messages"][:3]
    write(home, *({"messages": talk(number, 10, 10)} for number in range(4)), long)
    home.base.rename(home.base.with_name("gone"))
    told = home.run_bare("--mend", "--ollama_name", "zzhua")
    assert told["status"] == "fine" and "isn't on this machine" in told["shown"]
    told = home.run_bare("--mend", "--ollama_name", "zzhua", *LIMIT, expect=6)
    assert told["error"]["key"] == "error.base.gone"


# --- people

SAYS = {
    "zh": {
        "plan": "就这样",
        "what": "怎么办",
        "cut": "太长的对话在一轮的末尾截断",
        "keep": "这样行吗",
        "done": "完成！",
    },
    "en": {"plan": "Like this", "what": "What now", "cut": "cut dialogues", "keep": "Is that right", "done": "Done"},
}


def train(home: Program, columns: int = 80, language: str = "zh") -> Terminal:
    given = ("--ollama_name", "zzhua", "--base_model", str(home.base), "--data_dir", str(home.data), *LIMIT)
    words = [str(ROOT / "train_to_ollama.py"), *given, "--epochs", "1", "--no_register", "--no_compare"]
    said = {**home.environment, "TRAIN_TO_OLLAMA_LANG": language}
    return Terminal(words, columns=columns, environment=said, cwd=home.folder)


def with_long_ones(home: Program, *more: dict[str, Any]) -> bytes:
    plain = [{"messages": talk(number, 10, 10)} for number in range(4)]
    return write(home, *plain, {"messages": talk(9, 10, 10, 80, 10), "style": "轻"}, *more)


@pytest.mark.posix("a pseudo-terminal")
@pytest.mark.parametrize(("columns", "language"), [(80, "zh"), (60, "en")])
def test_a_conversation_whose_dialogues_are_too_long_cuts_them_and_trains(
    home: Program, columns: int, language: str
) -> None:
    before = with_long_ones(home)
    says = SAYS[language]
    with train(home, columns, language) as terminal:
        terminal.wait_for(says["plan"]).settled().send(ENTER)
        terminal.wait_for(says["what"]).settled()
        assert says["cut"] in terminal.screen and '"}], "style"' in terminal.screen
        assert (home.data / "train.jsonl").read_bytes() == before
        assert all(cells(line) <= columns for line in terminal.everything.splitlines())
        terminal.send(ENTER).wait_for(says["keep"]).settled().send(ENTER)
        terminal.wait_for(says["done"])
        assert terminal.finish() == 0
    assert (home.data / "train.jsonl.backup-1").read_bytes() == before
    assert read(home)[4] == {"messages": talk(9, 10, 10), "style": "轻"}
    assert home.newest is not None and home.newest.record["data"]["rows"] == 5


@pytest.mark.posix("a pseudo-terminal")
def test_undoing_a_cut_leads_back_to_the_faults_and_escape_to_the_plan(home: Program) -> None:
    before = with_long_ones(home)
    with train(home) as terminal:
        terminal.wait_for("就这样").settled().send(ENTER)
        terminal.wait_for("怎么办").settled().send(ENTER).wait_for("这样行吗").settled().send("2", ENTER)
        terminal.wait_for("已经换回原来的文件").wait_for("怎么办").settled()
        assert (home.data / "train.jsonl").read_bytes() == before
        terminal.send("2", ENTER).wait_for("修吗").settled().send(ESCAPE).wait_for("怎么办").settled()
        terminal.send(ESCAPE).wait_for("就这样").settled().send(ENTER)
        terminal.wait_for("怎么办").settled().send(CTRL_C)
        assert terminal.finish() == 3
    assert (home.data / "train.jsonl").read_bytes() == before and home.newest is None
    assert [path.name for path in home.data.iterdir()] == ["train.jsonl"]


@pytest.mark.posix("a pseudo-terminal")
def test_what_cant_be_cut_is_asked_about_again_and_can_be_left_out(home: Program) -> None:
    with_long_ones(home, {"messages": talk(9, 200, 10)})
    with train(home) as terminal:
        terminal.wait_for("就这样").settled().send(ENTER)
        terminal.wait_for("怎么办").settled().send(ENTER).wait_for("这样行吗").settled().send(ENTER)
        terminal.wait_for("1) 跳过有错的").settled().send(ENTER)
        terminal.wait_for("跳过了 1 条超过 100 个词元的对话").wait_for("完成！")
        assert terminal.finish() == 0
