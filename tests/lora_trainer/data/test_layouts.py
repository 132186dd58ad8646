"""Rows are found in what people have: lines, an array, a table or parquet, in any of the usual encodings."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.data.dataset import Dataset, load_dataset
from lora_trainer.errors import DataError
from tests.support.data_files import chat, kinds, lines, load, notes


def said(dataset: Dataset) -> list[list[str]]:
    return [[message["content"] for message in dialogue.messages] for dialogue in dataset.train]


def parquet(columns: dict[str, list[Any]]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    written = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), written)
    return written.getvalue()


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b" \n"])
def test_an_array_is_read_as_the_lines_that_it_would_be(tmp_path: Path, indent: int | None, mark: bytes) -> None:
    rows = [chat(f"问{i}", "答", "S") for i in range(30)]
    whole = load(tmp_path / "array", mark + json.dumps(rows, ensure_ascii=False, indent=indent).encode())
    by_line = load(tmp_path / "lines", lines(*rows))
    assert not whole.faults
    assert whole.fingerprint == by_line.fingerprint and len(whole.train) == len(by_line.train)


def test_the_rows_of_an_array_are_told_by_their_lines_where_each_has_its_own(tmp_path: Path) -> None:
    rows = [chat("a"), chat("b"), {"prompt": "c"}, 7]
    spread = load(tmp_path, json.dumps(rows, indent=1).encode())
    text = (tmp_path / "train.jsonl").read_text().splitlines()
    assert [(f.unit, text[f.line - 1].strip()) for f in spread.faults] == [("line", "{"), ("line", "7")]
    assert [text[dialogue.line - 1].strip() for dialogue in spread.train] == ["{", "{"]
    together = load(tmp_path, json.dumps(rows).encode())
    assert [(f.unit, f.line) for f in together.faults] == [("row", 3), ("row", 4)]
    assert [(dialogue.unit, dialogue.line) for dialogue in together.train] == [("row", 1), ("row", 2)]


def test_lines_that_are_arrays_each_are_lines(tmp_path: Path) -> None:
    assert kinds(load(tmp_path, lines([chat()], chat(), [1]))) == [(1, "not_object"), (3, "not_object")]


@pytest.mark.parametrize(
    "data", [b"[]", b"[\n]\n", b"\xef\xbb\xbf[ ]", "问,答\n".encode(), b"question\tanswer\n\n\t\n"]
)
def test_a_file_without_any_row_is_an_error_that_names_it(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DataError) as error:
        load(tmp_path, data)
    assert (error.value.key, error.value.values["file"]) == ("error.data.empty", str(tmp_path / "train.jsonl"))


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize(
    "head",
    [
        ("问", "答"),
        ("問", "答"),
        ("问题", "回答"),
        ("用户", "助手"),
        (" Question ", "ANSWER"),
        ("prompt", "completion"),
        ("Prompt", "Response"),
        ("instruction", "output"),
        ("user", "assistant"),
        ("input", "output"),
    ],
)
def test_a_table_is_read_by_its_head(tmp_path: Path, delimiter: str, head: tuple[str, str]) -> None:
    other = [*head, "system", "style", "备注"]
    cells = [
        ["你好", "在的。", "S", "x", "?"],
        [f"一{delimiter}二", 'She said "yes"', "", "", ""],
        ["多行\r\n的问", "a", "S"],
    ]
    rows = [delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in (other, *cells)]
    dataset = load(tmp_path, "\r\n".join([*rows[:2], "", *rows[2:]]).encode())
    assert not dataset.faults
    assert said(dataset) == [
        ["S", "你好", "在的。"],
        ["S", f"一{delimiter}二", 'She said "yes"'],
        ["S", "多行\n的问", "a"],
    ]
    assert [dialogue.line for dialogue in dataset.train] == [2, 4, 5]
    assert dataset.train[0].style == "x"


def test_every_fault_of_a_table_is_found_in_one_go_with_the_line_that_its_row_begins_in(tmp_path: Path) -> None:
    data = b'question,answer\nq,"over\ntwo lines"\nq,a,b\n"q"x,a\nq\n,,\nq,\xff\xfe\nq,a,,\n"open,a\nq,a\n'
    dataset = load(tmp_path, data)
    assert kinds(dataset) == [(4, "too_many_cells"), (5, "cells"), (6, "empty"), (8, "utf8"), (10, "cells")]
    assert [dialogue.line for dialogue in dataset.train] == [2, 9]


def test_a_table_with_other_heads_is_one_finding_that_names_them(tmp_path: Path) -> None:
    dataset = load(tmp_path, "标题,正文\n一,二\n三,四\n".encode())
    assert kinds(dataset) == [(1, "head")]
    assert dataset.faults[0].values["keys"] == "标题, 正文"
    picture = load(tmp_path, parquet({"image": [b"1"], "label": ["cat"]}))
    assert (kinds(picture), picture.faults[0].values["keys"]) == ([(0, "head")], "image, label")


def test_rows_of_json_behind_a_bad_line_are_no_table(tmp_path: Path) -> None:
    assert kinds(load(tmp_path, b"a,b\n" + lines(chat()) + b"c,d\n")) == [(1, "json"), (3, "json")]


def test_parquet_is_read_without_its_nulls_and_counted_by_rows(tmp_path: Path) -> None:
    talk: list[Any] = chat("a", "b")["messages"]
    odd = [{"role": "user", "content": "c", "weight": None}, {"role": "assistant", "content": "", "weight": None}]
    dataset = load(tmp_path, parquet({"messages": [talk, odd, talk], "picture": [b"1", None, b"2"], "n": [1, 2, 3]}))
    assert [(f.unit, f.line, f.key, f.values["where"]) for f in dataset.faults] == [
        ("row", 2, "data.fault.empty", "messages #2")
    ]
    assert said(dataset) == [["a", "b"]] * 2 and dataset.train[1].unit == "row"
    flat = load(tmp_path, parquet({"instruction": ["a", "b"], "input": [None, "c"], "output": ["d", "e"]}))
    assert said(flat) == [["a", "d"], ["b\nc", "e"]]


def test_parquet_that_breaks_off_is_one_finding(tmp_path: Path) -> None:
    whole = parquet({"prompt": ["a"] * 99, "completion": ["b"] * 99})
    for size in (4, 50, len(whole) - 8):
        assert kinds(load(tmp_path, whole[:size])) == [(0, "parquet")]


@pytest.mark.parametrize("layout", ["lines", "array", "table"])
@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("gb18030", "GBK"),
        ("big5", "Big5"),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("cp1252", "Windows-1252"),
    ],
)
def test_another_encoding_is_read_as_it_is_and_named(tmp_path: Path, layout: str, codec: str, name: str) -> None:
    question = {"cp1252": "Où êtes-vous, Señor?", "big5": "你好，第一次來這裡"}.get(codec, "你好，你是谁")
    rows = [{"prompt": f"{question} {i}", "completion": question} for i in range(9)]
    text = {
        "lines": lines(*rows).decode(),
        "array": json.dumps(rows, ensure_ascii=False, indent=1),
        "table": "prompt,completion\n" + "".join(f'"{row["prompt"]}","{row["completion"]}"\n' for row in rows),
    }[layout]
    dataset = load(tmp_path, text.encode(codec))
    assert not dataset.faults
    assert said(dataset) == [[row["prompt"], row["completion"]] for row in rows]
    assert notes(dataset)["encoding"] == {"encoding": name}
    assert load(tmp_path, text.encode()).fingerprint == dataset.fingerprint


def test_two_rows_of_gbk_are_no_damaged_utf8_and_a_damaged_line_is_no_other_encoding(tmp_path: Path) -> None:
    gbk = load(tmp_path, "问,答\n你好,在的\n".encode("gb18030"))
    assert said(gbk) == [["你好", "在的"]]
    bad = b'{"prompt": "caf\xe9", "completion": "x"}'
    assert kinds(load(tmp_path, lines(chat("plain"), bad, chat("also"), bad, chat()))) == [(2, "utf8"), (4, "utf8")]
    damaged = "你好".encode()[:-1]
    assert kinds(load(tmp_path, lines(chat("你"), *[b'{"prompt": "' + damaged + b'"}'] * 4, *[chat("好")] * 4))) == [
        (line, "utf8") for line in range(2, 6)
    ]


def test_a_byte_that_is_no_utf8_is_told_with_its_place_in_an_array_too(tmp_path: Path) -> None:
    rows = b'[\n{"prompt": "a", "completion": "b"},\n{"prompt": "\xe4\xbd\xa0\xff", "completion": "b"}\n]'
    dataset = load(tmp_path, rows)
    assert [(f.line, f.values) for f in dataset.faults] == [(3, {"byte": "0xFF", "column": 16})]
    assert said(dataset) == [["a", "b"]]


@pytest.mark.parametrize("name", ["rows.json", "rows.csv", "rows.parquet", "rows"])
def test_a_files_name_says_nothing_of_what_is_in_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes("问,答\n一,二\n".encode())
    assert said(load_dataset(tmp_path, train_file=Path(name))) == [["一", "二"]]
