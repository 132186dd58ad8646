"""What is changed is what was meant; every other line keeps its bytes, and nobody else's change is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_desk.changing.row_file import Backups, change, line_of, read_rows
from data_desk.changing.turns import turns_of, with_system, with_turn
from lora_trainer.data.formats import read_row
from lora_trainer.errors import DataError
from pipeline.desk.changes import change_turn, split
from tests.data_desk.rows import opened, row


def test_other_lines_keep_their_bytes_and_blank_ones_go(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    first, last = b'{ "prompt":"a",  "completion": "\\u4f60" }', b'{"prompt": "e", "completion": "f"}'
    before = b"\xef\xbb\xbf" + first + b"\r\n\r\n" + line_of(row("c", "d")) + b"\n" + last
    file.write_bytes(before)
    rows, backups = read_rows(file), Backups()
    assert sorted(rows.lines) == [1, 3, 4]
    backup = change(rows, backups, changed={3: row("c", "neu")}, added=[line_of(row("g", "h"))])
    assert backup is not None and backup.read_bytes() == before
    assert file.read_bytes().split(b"\n") == [first, line_of(row("c", "neu")), last, line_of(row("g", "h")), b""]
    assert change(read_rows(file), backups, without=[1]) is None and read_rows(file).content(1) == row("c", "neu")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.jsonl", "train.jsonl.backup-1"]


def test_what_another_program_has_written_meanwhile_is_not_lost(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    file.write_bytes(line_of(row("a", "b")) + b"\n")
    rows = read_rows(file)
    file.write_bytes(line_of(row("a", "changed")) + b"\n")
    with pytest.raises(DataError) as raised:
        change(rows, Backups(), without=[1])
    assert raised.value.key == "error.desk.changed" and read_rows(file).content(1) == row("a", "changed")
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("data", [b"[]", b'[{"prompt": "a"}]', b"a,b\n1,2\n", "{}".encode("utf-16"), b"\xff{}"])
def test_a_file_without_a_row_on_each_line_is_not_changed(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "train.jsonl").write_bytes(data)
    with pytest.raises(DataError) as raised:
        read_rows(tmp_path / "train.jsonl")
    assert raised.value.key == "error.import.other_file"


def test_a_file_that_isnt_there_has_no_rows_and_is_made(tmp_path: Path) -> None:
    file = tmp_path / "new" / "train.jsonl"
    assert change(read_rows(file), Backups(), added=[line_of(row("a", "b"))]) is None
    assert read_rows(file).content(1) == row("a", "b")


def test_a_row_keeps_what_isnt_changed_in_it() -> None:
    content = {
        "messages": [
            {"role": "developer", "content": "S"},
            {"role": "user", "content": "a", "name": "x"},
            {"role": "assistant", "content": "b", "weight": 0},
            {"role": "tool", "content": "t"},
            {"role": "assistant", "content": "c", "reasoning_content": "hm"},
        ],
        "category": "k",
        "mine": [1],
    }
    assert [(turn.at, turn.role, turn.text) for turn in turns_of(content)] == [
        (0, "system", "S"), (1, "user", "a"), (2, "assistant", "b"), (4, "assistant", "c")
    ]  # fmt: skip
    changed = with_turn(content, 4, "d")
    assert changed["messages"][4] == {"role": "assistant", "content": "d", "reasoning_content": "hm"}
    assert {**changed, "messages": changed["messages"][:4]} == {**content, "messages": content["messages"][:4]}
    other = with_system(content, "T")
    assert other["messages"] == [{"role": "system", "content": "T"}, *content["messages"][1:]]  # type: ignore[index]
    assert with_system(content, "")["messages"] == content["messages"][1:]  # type: ignore[index]


@pytest.mark.parametrize(
    "content",
    [
        {
            "instruction": "a",
            "input": "b",
            "output": "c",
            "system": "S",
            "history": [["x", "y"]],
            "style": "s",
            "id": 7,
        },
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "c"}], "system": "S", "id": 7},
        {"问": "a", "答": "c", "id": 7},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}, {"role": "bot", "text": "c"}]},
    ],
    ids=("alpaca", "sharegpt", "pair", "parts"),
)
def test_a_row_of_another_format_becomes_messages_that_say_the_same(content: dict[str, object]) -> None:
    before = read_row(content)
    changed = with_turn(content, len(before.messages) - 1, "neu")
    after = read_row(changed)
    assert after.faults == {} and after.unlearnt == before.unlearnt
    assert [m["content"] for m in after.messages] == [*(m["content"] for m in before.messages[:-1]), "neu"]
    assert (changed.get("id"), changed.get("style")) == (content.get("id"), content.get("style"))


def test_a_change_that_makes_a_row_unusable_is_refused(tmp_path: Path) -> None:
    desk = opened(tmp_path, [row("a", "b")])
    before = desk.files.train.read_bytes()
    with pytest.raises(DataError) as raised:
        change_turn(desk, 1, 1, "b\0", Backups())
    assert raised.value.key == "error.data.faults" and raised.value.values["findings"][0].line == 1
    assert desk.files.train.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_rows_of_one_group_stay_on_one_side_and_a_seed_splits_as_before(tmp_path: Path) -> None:
    story = "今天下雨了，我把窗边的书往里面挪了挪，你要不要进来坐一会儿"
    rows = [row(f"第{at}个问题是什么呢", f"第{at * 7}样东西，放在{at}号柜子里了。") for at in range(12)]
    rows += [row("讲讲今天", story + end) for end in ("", "呀", "吧")]
    rows += [row("在吗？", "（抬头）在的。"), row("在吗", "（不抬头）嗯，忙着理书，等我一下。")]
    chosen = []
    for seed in range(8):
        desk = opened(tmp_path / str(seed), rows)
        count = split(desk, 5, Backups(), seed)
        val = [json.loads(line) for line in desk.files.val.read_text(encoding="utf-8").splitlines()]
        assert 0 < count == len(val) <= 5
        for group in (rows[12:15], rows[15:17]):
            assert sum(each in val for each in group) in (0, len(group))
        train = [json.loads(line) for line in desk.files.train.read_text(encoding="utf-8").splitlines()]
        assert [each for each in rows if each not in val] == train and all(each in rows for each in val)
        chosen.append([rows.index(each) for each in val])
        assert chosen[-1] == sorted(chosen[-1])
    assert len({tuple(lines) for lines in chosen}) > 3
    again = opened(tmp_path / "again", rows)
    split(again, 5, Backups(), 3)
    assert again.files.val.read_bytes() == (tmp_path / "3" / "val.jsonl").read_bytes()


def test_rows_that_are_all_alike_are_not_split(tmp_path: Path) -> None:
    desk = opened(tmp_path, [row("在吗", f"第{at}样") for at in range(9)])
    assert split(desk, 3, Backups()) == 0 and not desk.files.val.exists()
