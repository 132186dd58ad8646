"""`--import` as scripts and people meet it: nothing is guessed that matters, and nothing is written unseen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.data_desk.samples import FOLDER
from tests.support.program import Program
from tests.support.project import ROOT
from tests.support.terminal import CLEAR, CTRL_C, DOWN, ENTER, ESCAPE, Terminal
from wizard.screen.layout import cells

WECHAT = str(FOLDER / "wechat.txt")


@pytest.fixture
def home(tmp_path: Path) -> Program:
    return Program(tmp_path / "家 home", rows=2)


def rows(file: Path) -> list[list[str]]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return [[message["content"] for message in json.loads(line)["messages"]] for line in lines]


def talk(home: Program, *flags: str, columns: int = 80, language: str = "zh") -> Terminal:
    said = {**home.environment, "TRAIN_TO_OLLAMA_LANG": language}
    words = [str(ROOT / "train_to_ollama.py"), "--import", *flags]
    return Terminal(words, columns=columns, environment=said, cwd=home.folder)


# --- scripts


def test_a_chat_log_becomes_rows_beside_those_that_were_there(home: Program) -> None:
    before = (home.data / "train.jsonl").read_bytes()
    told = home.run_bare("--import", WECHAT, "--character", "林栀", "--data_dir", str(home.data))
    assert (told["status"], told["rows"], told["added"], told["before"]) == ("done", 2, 2, 2)
    assert told["files"][0]["format"] == "wechat_txt" and told["files"][0]["speakers"] == {"林栀": 5, "小明": 3}
    assert told["left"] == {"media": 2, "withdrawn": 1, "unasked": 1}
    assert Path(told["backup"]).read_bytes() == before and "consent" in told["shown"]
    assert rows(home.data / "train.jsonl")[2:] == [
        ["你在店里吗", "（低头）在、在的……\n怎么啦？😊", "想找一本书，\n第二行：书名是《雨季》", "有的，我帮你留着"],
        ["下午好", "书到了"],
    ]
    again = home.run_bare("--import", WECHAT, "--character", "林栀", "--data_dir", str(home.data))
    assert (again["added"], again["known"], again["backup"]) == (0, 2, None)


def test_several_files_and_folders_come_together_into_a_characters_own_folder(home: Program) -> None:
    (home.folder / "in").mkdir()
    (home.folder / "in" / "a.txt").write_text("问：a 13812345678\n答：b\n", encoding="utf-8")
    (home.folder / "in" / "b.bin").write_bytes(b"\0\1\2" * 100)
    told = home.run_bare("--import", "in", str(FOLDER / "card-v2.png"), "--ollama_name", "linzhi")
    assert [(each["format"], each["rows"], each["guess"]) for each in told["files"]] == [
        ("plain_text", 1, True),
        ("character_card", 2, False),
    ]
    assert told["unknown"] == ["in/b.bin"] and told["private"] == {"phone": 1}
    assert rows(home.folder / "data" / "linzhi" / "train.jsonl")[0] == ["a 〔phone 1〕", "b"]


def test_who_knows_keeps_private_details_and_who_has_a_list_has_names_replaced(home: Program) -> None:
    file = home.folder / "a.txt"
    file.write_text("问：小明在 a@b.cn 吗\n答：在，密码是 1\n\n问：小明？\n答：在\n", encoding="utf-8")
    kept = home.run_bare("--import", "a.txt", "--data_dir", "kept", "--keep_private", "--drop_words", "密码")
    assert kept["private"] == {} and kept["left"] == {"dropped": 1}
    assert rows(home.folder / "kept" / "train.jsonl") == [["小明在 a@b.cn 吗\n小明？", "在"]]
    home.run_bare("--import", "a.txt", "--data_dir", "b", "--private_names", "小明，小红")
    assert rows(home.folder / "b" / "train.jsonl")[0] == ["〔名字1〕在 〔邮箱1〕 吗", "在，密码是 1"]


@pytest.mark.parametrize(
    ("flags", "key", "said"),
    [
        ((WECHAT, "--data_dir", "d"), "error.import.character", "林栀 (5), 小明 (3)"),
        ((WECHAT, "--data_dir", "d", "--yes"), "error.import.character", "--character"),
        ((WECHAT, "--data_dir", "d", "--character", "小红"), "error.import.no_speaker", "林栀 (5)"),
        ((WECHAT, "--character", "林栀"), "error.import.place", "--data_dir"),
        ((str(FOLDER / "table-dialogues.tsv"), "--data_dir", "d"), "error.import.columns", "conversation_id"),
        (
            (str(FOLDER / "table-zh.csv"), "--data_dir", "d", "--columns", "user=没有"),
            "error.import.no_column",
            "问, 答, 场景",
        ),
        ((WECHAT, "--data_dir", "d", "--columns", "who=问"), "error.import.columns_flag", "character"),
    ],
)
def test_what_isnt_clear_is_asked_for_by_its_flag_and_nothing_is_written(
    home: Program, flags: tuple[str, ...], key: str, said: str
) -> None:
    told = home.run_bare("--import", *flags, expect=2)
    assert told["error"]["key"] == key and said in told["error"]["message"]
    assert not (home.folder / "d").exists()


@pytest.mark.parametrize(
    ("flags", "key"),
    [
        (("nothing.txt", "--data_dir", "d"), "error.import.missing"),
        ((str(ROOT / "LICENSE"), "--data_dir", "d"), "error.import.unknown"),
        (("cut.xlsx", "--data_dir", "d"), "error.import.broken"),
        (("old.xls", "--data_dir", "d"), "error.import.old_workbook"),
        ((str(ROOT / "bench" / "gpu" / "checks"), "--data_dir", "d"), "error.import.nothing"),
    ],
)
def test_what_cant_be_read_is_told(home: Program, flags: tuple[str, ...], key: str) -> None:
    (home.folder / "cut.xlsx").write_bytes((FOLDER / "table-sheets.xlsx").read_bytes()[:3000])
    (home.folder / "old.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "Workbook".encode("utf-16-le") * 9)
    assert home.run_bare("--import", *flags, expect=4)["error"]["key"] == key
    assert not (home.folder / "d").exists()


@pytest.mark.parametrize("flags", [("--epochs", "2"), ("--history",), ("--train_file", "a"), ("--dry_run",)])
def test_an_import_trains_nothing_and_does_nothing_else(home: Program, flags: tuple[str, ...]) -> None:
    told = home.run_bare("--import", WECHAT, "--data_dir", "d", *flags, expect=2)
    assert told["error"]["key"] == "error.flag.contradiction" and "--import" in told["error"]["message"]
    alone = home.run_bare("--character", "a", expect=2)
    assert alone["error"]["key"] == "error.flag.needs" and "--import" in alone["error"]["message"]


def test_columns_are_found_by_name_or_as_they_are_given(home: Program) -> None:
    told = home.run_bare("--import", str(FOLDER / "table-zh.csv"), "--data_dir", "a")
    assert told["rows"] == 2 and told["files"][0]["encoding"] == "GBK"
    columns = ("--columns", "user=text,character=query,dialogue=id")
    home.run_bare("--import", str(FOLDER / "table-dialogues.tsv"), "--data_dir", "b", *columns)
    assert rows(home.folder / "b" / "train.jsonl")[0] == ["Be kind.", "Hello", "Hi"]


def test_a_workbook_becomes_rows_and_says_which_sheet_it_was(home: Program) -> None:
    told = home.run_bare("--import", str(FOLDER / "table-sheets.xlsx"), "--data_dir", "d")
    assert (told["rows"], told["files"][0]["sheet"]) == (4, "对话")
    assert "not: 说明, 旧的" in told["shown"]
    assert rows(home.folder / "d" / "train.jsonl")[2] == ["书多少钱", "42"]
    other = home.run_bare(
        "--import", str(FOLDER / "table-sheets.xlsx"), "--data_dir", "e", "--columns", "user=没有", expect=2
    )
    assert other["error"]["key"] == "error.import.no_column" and "场景" in other["error"]["message"]


def test_an_export_is_brought_in_as_the_archive_that_it_is(home: Program) -> None:
    told = home.run_bare("--import", *(str(FOLDER / name) for name in ("chatgpt.zip", "card.charx")), "--data_dir", "d")
    assert [each["format"] for each in told["files"]] == ["chatgpt", "character_card"] and told["rows"] == 3
    assert [path.name for path in (home.folder / "d").iterdir()] == ["train.jsonl"]


def test_training_rows_keep_their_weights_and_lose_their_thoughts(home: Program) -> None:
    files = [str(FOLDER / name) for name in ("rows-openai.json", "rows.parquet")]
    told = home.run_bare("--import", *files, "--data_dir", "d")
    assert (told["rows"], told["left"]) == (3, {"tool": 3, "unusable": 1})
    written = (home.folder / "d" / "train.jsonl").read_text(encoding="utf-8")
    assert written.count('"weight": 0') == 2 and "think" not in written and '"style": "shy"' in written


# --- people


@pytest.mark.posix("a pseudo-terminal")
@pytest.mark.parametrize(("columns", "language"), [(80, "zh"), (60, "zh"), (80, "en"), (60, "en")])
def test_somebody_is_asked_who_the_character_is_and_sees_rows_before_they_are_written(
    home: Program, columns: int, language: str
) -> None:
    english = language == "en"
    with talk(home, WECHAT, "--data_dir", "d", columns=columns, language=language) as terminal:
        terminal.wait_for("Who is your character" if english else "谁是你的角色").settled()
        assert terminal.has_shown("2024-01-01") and terminal.has_shown("consent" if english else "同意")
        terminal.send(ENTER)
        terminal.wait_for("Is that right" if english else "这样行吗").settled()
        assert terminal.has_shown("你在店里吗") and not (home.folder / "d").exists()
        assert all(cells(line) <= columns for line in terminal.everything.splitlines())
        terminal.send(ENTER)
        assert terminal.finish() == 0
    assert len(rows(home.folder / "d" / "train.jsonl")) == 2


@pytest.mark.posix("a pseudo-terminal")
def test_esc_goes_back_a_question_and_leaving_writes_nothing(home: Program) -> None:
    with talk(home, WECHAT, "--data_dir", "d") as terminal:
        terminal.wait_for("谁是你的角色").settled().send(DOWN, ENTER)
        terminal.wait_for("这样行吗").settled().send(ESCAPE)
        terminal.wait_for("谁是你的角色").settled().send(ESCAPE)
        assert terminal.finish() == 3
    for keys in ((CTRL_C,), (ENTER,)):
        with talk(home, WECHAT, "--data_dir", "d") as terminal:
            terminal.wait_for("谁是你的角色").settled().send(*keys)
            if keys == (ENTER,):
                terminal.wait_for("这样行吗").settled().send("3", ENTER)
            assert terminal.finish() == 3
    assert not (home.folder / "d").exists()


@pytest.mark.posix("a pseudo-terminal")
def test_another_pause_cuts_the_chats_otherwise(home: Program) -> None:
    with talk(home, WECHAT, "--data_dir", "d", "--character", "林栀") as terminal:
        terminal.wait_for("得到 2 段对话").wait_for("这样行吗").settled().send("2", ENTER)
        terminal.wait_for("隔多少分钟").send(CLEAR, "600", ENTER)
        terminal.wait_for("得到 1 段对话").wait_for("这样行吗").settled().send(ENTER)
        assert terminal.finish() == 0
    assert len(rows(home.folder / "d" / "train.jsonl")) == 1


@pytest.mark.posix("a pseudo-terminal")
def test_columns_and_the_folder_are_asked_where_nothing_says_them(home: Program) -> None:
    with talk(home, str(FOLDER / "table-dialogues.tsv")) as terminal:
        terminal.wait_for("哪一列是角色说的").settled().send("3", ENTER)
        terminal.wait_for("放到哪里").settled().send("2", ENTER)
        terminal.wait_for("哪个文件夹").send("新的 new", ENTER)
        terminal.wait_for("这样行吗").settled().send(ENTER)
        assert terminal.finish() == 0
    assert rows(home.folder / "新的 new" / "train.jsonl")[1] == ["Bye", "See you"]
