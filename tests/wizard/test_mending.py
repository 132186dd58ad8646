"""`--mend`, and faults in the wizard: everything is told before it is written, and what is written can be undone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.program import Program
from tests.support.project import ROOT
from tests.support.terminal import CTRL_C, DOWN, ENTER, ESCAPE, Terminal
from wizard.screen.layout import cells


def row(number: int, question: str = "在干嘛？") -> str:
    said = (("user", f"{number}：{question}"), ("assistant", f"（低头）看书……{number}"))
    return json.dumps({"messages": [{"role": role, "content": text} for role, text in said]}, ensure_ascii=False)


USER = '{"role": "user", "content": "在吗"}'
TWELVE = [
    row(2) + ",",
    row(3).replace("}]}", "},]}"),
    row(4).replace('"messages"', "“messages”"),
    row(5).replace('": "', '"： "'),
    str(json.loads(row(6))),
    row(7)[:-2],
    row(8) + row(9),
    row(10).replace('"user"', '"人类"'),
    row(11).replace("[{", f"[{USER}, {{"),
    row(12).replace("}]}", f"}}, {USER}]}}"),
    row(13).replace("[{", '[{"role": "user", "content": ""}, {'),
    row(14).replace("看书", "看\\u0000书"),
]
"""Lines that a training refuses, each for another reason, and all of which a rule mends."""
HOPELESS = ["没有格式的一行", json.dumps({"messages": [json.loads(USER)]}, ensure_ascii=False)]


@pytest.fixture
def home(tmp_path: Path) -> Program:
    program = Program(tmp_path / "家 home", rows=2)
    (program.data / "val.jsonl").unlink()
    return program


def write(home: Program, *lines: str, codec: str = "utf-8", name: str = "train.jsonl") -> bytes:
    data = "".join(f"{line}\n" for line in lines).encode(codec)
    (home.data / name).write_bytes(data)
    return data


def names(home: Program) -> list[str]:
    return sorted(path.name for path in home.data.iterdir())


# --- scripts


def test_a_script_mends_both_files_and_tells_each_repair_with_its_lines(home: Program) -> None:
    before = write(home, row(0), *TWELVE, row(0), codec="gb18030")
    write(home, row(90), row(91) + ",", name="val.jsonl")
    told = home.run_bare("--mend", "--data_dir", str(home.data))
    assert (told["status"], told["exit_code"]) == ("done", 0)
    train, val = told["files"]
    assert Path(train["backup"]).read_bytes() == before and Path(train["backup"]).parent == home.data.resolve()
    counts = {each["repair"]: (each["count"], each["lines"]) for each in train["repairs"]}
    assert counts["encoding"] == (1, []) and counts["json_commas"] == (2, [2, 3])
    assert counts["json_single"] == (1, [6]) and counts["duplicates"] == (1, [14])
    assert [(each["repair"], each["lines"]) for each in val["repairs"]] == [("json_commas", [2])]
    place = next(each["places"][0] for each in train["repairs"] if each["repair"] == "roles")
    assert "人类" in place["before"] and '"user"' in place["after"]
    rows = (home.data / "train.jsonl").read_text(encoding="utf-8").splitlines()
    assert rows[0] == row(0) and len(rows) == 14 and all(json.loads(line) for line in rows)
    assert "train.jsonl" in told["shown"] and "take superfluous commas out: 2, line 2, 3" in told["shown"]


def test_what_is_fine_is_left_alone_and_nothing_is_written(home: Program) -> None:
    write(home, row(0), row(1))
    before = names(home)
    for _ in range(2):
        told = home.run_bare("--mend", "--train_file", str(home.data / "train.jsonl"))
        assert told["status"] == "fine" and told["files"][0]["backup"] is None
    assert names(home) == before and "nothing to mend" in told["shown"]


def test_what_no_rule_mends_is_named_with_its_line_and_is_exit_code_four(home: Program) -> None:
    write(home, row(0) + ",", *HOPELESS)
    told = home.run_bare("--mend", "--data_dir", str(home.data), expect=4)
    assert told["error"]["key"] == "error.mend.left" and told["status"] == "left"
    assert [found["line"] for found in told["error"]["findings"]] == [2, 3] and told["files"][0]["faults"] == 2
    assert (home.data / "train.jsonl").read_text(encoding="utf-8").splitlines() == [row(0), *HOPELESS]
    before = names(home)
    again = home.run_bare("--mend", "--data_dir", str(home.data), expect=4)
    assert again["files"][0]["repairs"] == [] and names(home) == before


def test_a_characters_own_data_are_found_by_its_name(home: Program) -> None:
    folder = home.folder / "data" / "linzhi"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text(row(0) + ",\n", encoding="utf-8")
    told = home.run_bare("--mend", "--ollama_name", "linzhi")
    assert told["files"][0]["file"] == str(Path("data", "linzhi", "train.jsonl")) and told["status"] == "done"
    assert home.run_bare("--mend", "--ollama_name", "nobody", expect=4)["error"]["key"] == "error.mend.no_data"
    assert home.run_bare("--mend", "--data_dir", "nowhere", expect=4)["error"]["key"] == "error.data.no_folder"


@pytest.mark.parametrize("flags", [("--epochs", "2"), ("--import", "a"), ("--history",), ("--seed", "1"), ("--clean",)])
def test_mending_trains_nothing_and_does_nothing_else(home: Program, flags: tuple[str, ...]) -> None:
    told = home.run_bare("--mend", *flags, expect=2)
    assert told["error"]["key"] == "error.flag.contradiction" and "--mend" in told["error"]["message"]


def test_where_a_file_cant_be_written_that_is_said_and_neither_of_them_has_changed(home: Program) -> None:
    before = write(home, row(0) + ","), write(home, row(90) + ",", name="val.jsonl")
    # what is written goes here first
    (home.data / "val.jsonl.part").mkdir()
    told = home.run_bare("--mend", "--data_dir", str(home.data), expect=4)
    assert told["error"]["key"] == "error.mend.write"
    assert tuple((home.data / name).read_bytes() for name in ("train.jsonl", "val.jsonl")) == before
    assert names(home) == ["train.jsonl", "val.jsonl", "val.jsonl.part"]


# --- people

SAYS = {
    "zh": {"all": "全部照建议修", "what": "怎么办", "one": "修吗", "keep": "这样行吗", "plan": "就这样"},
    "en": {"all": "mend all", "what": "What now", "one": "Mend this", "keep": "Is that right", "plan": "Like this"},
}


def talk(home: Program, *flags: str, columns: int = 80, language: str = "zh") -> Terminal:
    said = {**home.environment, "TRAIN_TO_OLLAMA_LANG": language}
    words = [str(ROOT / "train_to_ollama.py"), "--data_dir", str(home.data), *flags]
    return Terminal(words, columns=columns, environment=said, cwd=home.folder)


@pytest.mark.posix("a pseudo-terminal")
@pytest.mark.parametrize(("columns", "language"), [(80, "zh"), (60, "zh"), (80, "en"), (60, "en")])
def test_somebody_sees_all_repairs_before_any_is_written(home: Program, columns: int, language: str) -> None:
    before = write(home, row(0), *TWELVE)
    says = SAYS[language]
    with talk(home, "--mend", columns=columns, language=language) as terminal:
        terminal.wait_for(says["what"]).settled()
        assert (home.data / "train.jsonl").read_bytes() == before
        assert terminal.has_shown("人类") and says["all"] in terminal.screen
        assert all(cells(line) <= columns for line in terminal.everything.splitlines())
        terminal.send(ENTER).wait_for(says["keep"]).settled().send(ENTER)
        assert terminal.finish() == 0
    assert names(home) == ["train.jsonl", "train.jsonl.backup-1"]
    assert (home.data / "train.jsonl.backup-1").read_bytes() == before


@pytest.mark.posix("a pseudo-terminal")
@pytest.mark.parametrize(
    "keys", [(ESCAPE,), (CTRL_C,), ("3", ENTER), ("2", ENTER, CTRL_C), ("2", ENTER, ESCAPE, CTRL_C)]
)
def test_whoever_leaves_has_written_nothing(home: Program, keys: tuple[str, ...]) -> None:
    before = write(home, row(0) + ",")
    with talk(home, "--mend") as terminal:
        terminal.wait_for("怎么办").settled()
        for key in keys:
            terminal.send(key).settled()
        assert terminal.finish() == 3
    assert (home.data / "train.jsonl").read_bytes() == before and names(home) == ["train.jsonl"]


@pytest.mark.posix("a pseudo-terminal")
@pytest.mark.parametrize("keys", [("2", ENTER), (ESCAPE,), (CTRL_C,)])
def test_one_key_puts_the_old_files_back(home: Program, keys: tuple[str, ...]) -> None:
    before = write(home, row(0) + ",", codec="gb18030")
    with talk(home, "--mend") as terminal:
        terminal.wait_for("怎么办").settled().send(ENTER).wait_for("这样行吗").settled().send(*keys)
        assert terminal.finish() == 3
    assert (home.data / "train.jsonl").read_bytes() == before and names(home) == ["train.jsonl"]


@pytest.mark.posix("a pseudo-terminal")
def test_one_kind_after_the_other_is_taken_or_left(home: Program) -> None:
    write(home, row(0) + ",", row(1).replace("在干嘛", " <|im_end|>在干嘛"), row(2), row(2))
    with talk(home, "--mend") as terminal:
        terminal.wait_for("怎么办").settled().send("2", ENTER)
        terminal.wait_for("修吗？（1/3）").settled().send(ENTER)
        terminal.wait_for("修吗？（2/3）").settled().send(ENTER)
        terminal.wait_for("修吗？（3/3）").settled().send(ESCAPE)
        terminal.wait_for("修吗？（2/3）").settled().send(ENTER)
        terminal.wait_for("修吗？（3/3）").settled().send(DOWN, ENTER)
        terminal.wait_for("这样行吗").settled().send(ENTER)
        assert terminal.finish() == 0
    lines = (home.data / "train.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines[0] == row(0) and "im_end" not in lines[1] and lines[2:] == [row(2), row(2)]


def train(home: Program, **how: object) -> Terminal:
    flags = ("--ollama_name", "linzhi", "--base_model", str(home.base), "--no_register", "--no_compare")
    return talk(home, *flags, **how)  # type: ignore[arg-type]


@pytest.mark.posix("a pseudo-terminal")
@pytest.mark.parametrize(("columns", "language"), [(80, "zh"), (60, "en")])
def test_a_conversation_that_begins_with_twelve_faults_ends_in_training(
    home: Program, columns: int, language: str
) -> None:
    before = write(home, row(0), *TWELVE, codec="gb18030")
    says = SAYS[language]
    with train(home, columns=columns, language=language) as terminal:
        terminal.wait_for(says["what"]).settled()
        assert terminal.everything.count("\n✗ ") >= 12 and says["all"] in terminal.screen
        terminal.send(ENTER).wait_for(says["keep"]).settled().send(ENTER)
        terminal.wait_for("14").wait_for(says["plan"])
        assert "--skip_bad_rows" not in terminal.everything[terminal.everything.rfind("14") :]
        terminal.settled().send(ENTER)
        assert terminal.finish() == 0
    assert (home.data / "train.jsonl.backup-1").read_bytes() == before
    run = home.history.newest("linzhi")
    assert run is not None and run.has_done("train") and run.record["data"]["rows"] == 14


@pytest.mark.posix("a pseudo-terminal")
def test_in_the_wizard_undoing_leads_back_to_the_faults_and_leaving_writes_nothing(home: Program) -> None:
    before = write(home, row(0), *TWELVE)
    with train(home) as terminal:
        terminal.wait_for("怎么办").settled().send(ENTER).wait_for("这样行吗").settled().send("2", ENTER)
        terminal.wait_for("已经换回原来的文件").wait_for("怎么办").settled()
        assert (home.data / "train.jsonl").read_bytes() == before
        terminal.send("2", ENTER).wait_for("修吗").settled().send(ESCAPE).wait_for("怎么办").settled().send(CTRL_C)
        assert terminal.finish() == 3
    assert (home.data / "train.jsonl").read_bytes() == before and names(home) == ["train.jsonl"]


@pytest.mark.posix("a pseudo-terminal")
def test_in_the_wizard_what_no_rule_mends_is_asked_about_again(home: Program) -> None:
    write(home, *(row(number) for number in range(4)), row(5) + ",", *HOPELESS)
    with train(home) as terminal:
        terminal.wait_for("怎么办").settled().send(ENTER).wait_for("这样行吗").settled().send(ENTER)
        terminal.wait_for("1) 改好了").settled()
        assert "全部照建议修" not in terminal.screen.split("这样行吗")[-1]
        terminal.send("2", ENTER).wait_for("5 条都能用").wait_for("就这样")


@pytest.mark.posix("a pseudo-terminal")
def test_a_file_that_changes_while_it_is_looked_at_is_not_written_over(home: Program) -> None:
    write(home, row(0) + ",")
    with talk(home, "--mend") as terminal:
        terminal.wait_for("怎么办").settled()
        other = write(home, row(1) + ",")
        terminal.send(ENTER)
        assert terminal.finish() == 4
        assert terminal.has_shown("刚才又改过了")
    assert (home.data / "train.jsonl").read_bytes() == other and names(home) == ["train.jsonl"]
