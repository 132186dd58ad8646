"""Dialogues longer than a training takes are cut at a turn's end: by scripts, and where the checks refuse them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Program

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
