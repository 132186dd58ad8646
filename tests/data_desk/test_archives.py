"""Archives and workbooks: one part is read, nothing is unpacked that is too large, and what is wrong is told."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZipFile

import pytest
from openpyxl import Workbook

from data_desk import archive, sample, workbook
from data_desk.desk import gather, look
from data_desk.dialogue import Choices
from data_desk.importers import training_rows
from lora_trainer.errors import DataError
from tests.data_desk.samples import FOLDER

SHEETS = FOLDER / "table-sheets.xlsx"


def packed(path: Path, members: dict[str, bytes], method: int = ZIP_DEFLATED) -> Path:
    with ZipFile(path, "w", method) as written:
        for name, data in members.items():
            written.writestr(name, data)
    return path


def sheets(path: Path, **rows: list[list[Any]]) -> Path:
    book = Workbook()
    book.remove(book.worksheets[0])
    for name, cells in rows.items():
        sheet = book.create_sheet(name)
        for row in cells:
            sheet.append(row)
    book.save(path)
    return path


def turns(path: Path, **columns: str) -> list[list[str]]:
    found, _ = look([path], columns)
    return [[m["content"] for m in each.messages] for each in gather(found, Choices(columns=columns), None).dialogues]


def refused(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        look([path])
    return caught.value


def with_part(path: Path, part: str, data: bytes) -> Path:
    """The workbook of the samples with another text in one of its parts."""
    old = ZipFile(SHEETS)
    return packed(path, {name: data if name == part else old.read(name) for name in old.namelist()})


# --- what is read


def test_the_first_sheet_with_known_columns_is_read_and_the_others_are_named() -> None:
    (found,), _ = look([SHEETS])
    assert (found.sheet, found.other_sheets) == ("对话", ("说明", "旧的"))
    assert found.heads == ("编号", "问", "答", "场景")


def test_the_sheet_that_has_the_given_columns_is_read(tmp_path: Path) -> None:
    path = sheets(tmp_path / "a.xlsx", a=[["问", "答"], ["一", "二"]], b=[["问", "林栀"], ["三", "四"]])
    assert turns(path) == [["一", "二"]] and turns(path, character="林栀") == [["三", "四"]]


def test_a_sheet_without_known_columns_lacks_them_and_is_read_when_they_are_said(tmp_path: Path) -> None:
    path = sheets(tmp_path / "a.xlsx", a=[["客人", "林栀"], ["一", 2.0]])
    (found,), _ = look([path])
    assert found.missing_columns(Choices()) == ["user", "character"]
    assert turns(path, user="客人", character="林栀") == [["一", "2"]]


def test_the_member_that_is_wanted_is_read_wherever_it_lies_and_nothing_is_written(tmp_path: Path) -> None:
    data = (FOLDER / "chatgpt.json").read_bytes()
    path = packed(tmp_path / "export", {"a/b.txt": b"\0", "my export/conversations.json": data})
    assert turns(path) == turns(FOLDER / "chatgpt.json") and list(tmp_path.iterdir()) == [path]


def test_an_archive_of_something_else_is_of_no_known_format(tmp_path: Path) -> None:
    assert refused(packed(tmp_path / "a.zip", {"a.txt": "问：a\n答：b".encode()})).key == "error.import.unknown"


# --- what is refused


@pytest.mark.parametrize("part", ["conversations.json", "xl/workbook.xml"])
def test_an_archive_that_would_become_too_large_is_refused_before_anything_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    path = packed(tmp_path / "bomb", {part: b" " * 100_001})
    monkeypatch.setattr(sample, "MOST_BYTES", 100_000)
    monkeypatch.setattr(ZipFile, "open", lambda *_: pytest.fail("unpacked"))
    assert refused(path).key == "error.import.bomb"


def test_a_member_that_becomes_more_than_the_directory_says_is_broken(tmp_path: Path) -> None:
    path = packed(tmp_path / "liar", {"conversations.json": b" " * 5_000_000})
    size = struct.pack("<I", 5_000_000)
    assert path.read_bytes().count(size) == 2
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<I", 10)))
    assert refused(path).key == "error.import.broken"


def test_a_directory_of_too_many_members_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_MOST_ENTRIES", 50)
    path = packed(tmp_path / "many", {f"{number}": b"" for number in range(51)})
    assert refused(path).key == "error.import.bomb"


def test_a_method_that_takes_any_memory_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a", {"card.json": b"{}"}, ZIP_BZIP2)
    assert refused(path).key == "error.import.broken"


@pytest.mark.parametrize("name", ["chatgpt.zip", "table-sheets.xlsx"])
def test_an_archive_that_is_locked_or_cut_off_is_told(tmp_path: Path, name: str) -> None:
    data = (FOLDER / name).read_bytes()
    locked = bytearray(data)
    at = 0
    while (at := data.find(b"PK\x01\x02", at) + 1) > 0:
        locked[at + 7] |= 1
    (tmp_path / "locked").write_bytes(bytes(locked))
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    assert refused(tmp_path / "locked").key == "error.import.locked"
    assert refused(tmp_path / "cut").key == "error.import.broken"


@pytest.mark.parametrize(
    ("stream", "key"),
    [
        ("Workbook", "error.import.old_workbook"),
        ("EncryptedPackage", "error.import.locked"),
        ("WordDocument", "error.import.unknown"),
    ],
)
def test_old_and_locked_workbooks_are_told(tmp_path: Path, stream: str, key: str) -> None:
    path = tmp_path / "a.xls"
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 1000 + stream.encode("utf-16-le") + b"\0" * 500)
    assert refused(path).key == key


def test_a_binary_workbook_is_told(tmp_path: Path) -> None:
    assert refused(packed(tmp_path / "a", {"xl/workbook.bin": b"\0"})).key == "error.import.old_workbook"


@pytest.mark.parametrize("part", ["xl/workbook.xml", "[Content_Types].xml", "xl/worksheets/sheet1.xml"])
def test_a_workbook_with_a_broken_part_is_told(tmp_path: Path, part: str) -> None:
    error = refused(with_part(tmp_path / "a.xlsx", part, b"<a><b></a>"))
    assert error.key == "error.import.broken" and error.values["reason"]


@pytest.mark.timeout(120)
def test_cells_at_the_far_end_of_a_sheet_make_no_endless_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "_MOST_ROWS", 5000)
    cell = '<c r="{}{}" t="inlineStr"><is><t>{}</t></is></c>'
    rows = [
        [("A", 1, "问"), ("B", 1, "答"), ("XFD", 1, "x")],
        [("A", 2, "一"), ("B", 2, "二"), ("XFD", 2, "x")],
        [("A", 999_999_999, "三"), ("B", 999_999_999, "四")],
    ]
    written = "".join(f'<row r="{row[0][1]}">{"".join(cell.format(*each) for each in row)}</row>' for row in rows)
    name = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    sheet = f'<worksheet xmlns="{name}"><sheetData>{written}</sheetData></worksheet>'.encode()
    assert turns(with_part(tmp_path / "far.xlsx", "xl/worksheets/sheet1.xml", sheet)) == [["一", "二"]]


def test_entities_within_entities_are_not_written_out(tmp_path: Path) -> None:
    nested = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    text = f'<!DOCTYPE a [<!ENTITY e0 "{"x" * 100}">{nested}]><worksheet>&e11;</worksheet>'
    path = with_part(tmp_path / "a.xlsx", "xl/worksheets/sheet1.xml", text.encode())
    assert refused(path).key == "error.import.broken"


def test_a_workbook_where_nothing_can_read_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert refused(SHEETS).key == "error.import.no_openpyxl"


# --- rows that a training reads already


def test_what_is_left_out_of_a_row_leaves_its_weights_and_its_other_keys() -> None:
    found, _ = look([FOLDER / "rows-openai.json"])
    first, second = (each.as_row for each in gather(found, Choices(), None).dialogues)
    assert first["category"] == "thanks" and set(first) == {"messages", "category"}
    assert [each.get("weight") for each in first["messages"]] == [None, None, 0, None, None]
    assert second == json.loads((FOLDER / "rows-openai.json").read_text(encoding="utf-8"))[1]


def test_a_parquet_file_that_is_cut_off_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes((FOLDER / "rows.parquet").read_bytes()[:-40])
    assert refused(tmp_path / "a").key == "error.import.broken"


def test_a_parquet_file_of_endless_repetition_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow  # type: ignore[import-untyped, unused-ignore]
    from pyarrow import parquet

    path = tmp_path / "a"
    parquet.write_table(pyarrow.table({"prompt": ["a" * 100] * 2000, "completion": ["b"] * 2000}), path)
    assert len(path.read_bytes()) < 5000
    monkeypatch.setattr(training_rows, "MOST_BYTES", 100_000)
    found, _ = look([path])
    with pytest.raises(DataError) as caught:
        gather(found, Choices(), None)
    assert caught.value.key == "error.import.bomb"
