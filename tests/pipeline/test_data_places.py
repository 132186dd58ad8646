"""Every folder with dialogues is offered with the number of its rows, however they are written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.data_places import data_places
from tests.lora_trainer.data.test_layouts import parquet
from tests.support.data_files import chat, lines

ROWS = [chat(f"问 {i}", "答", "你是林栀。") for i in range(3)]
TABLE = "system,问,答\n" + '你是林栀。,"多\n行",答\n' * 3


@pytest.mark.parametrize(
    "data",
    [
        lines(*ROWS[:2], b"", ROWS[2]),
        b"\xef\xbb\xbf" + lines(*ROWS),
        lines(*ROWS).decode().encode("gb18030"),
        lines(*ROWS).decode().encode("utf-16"),
        json.dumps(ROWS, indent=1).encode(),
        TABLE.encode(),
        TABLE.encode("gb18030"),
        parquet({"messages": [row["messages"] for row in ROWS]}),
    ],
    ids=["lines", "BOM", "GBK", "UTF-16", "array", "table", "GBK table", "parquet"],
)
def test_the_rows_of_a_file_are_counted_and_it_is_shown_how_they_begin(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.jsonl").write_bytes(data)
    (tmp_path / "mine" / "val.jsonl").write_bytes(data)
    (place,) = data_places(tmp_path)
    assert (place.folder, place.rows, place.val_rows) == (tmp_path / "mine", 3, 3)
    assert place.opening == "你是林栀。"


def test_a_file_that_is_none_of_this_counts_no_row_and_stops_nobody(tmp_path: Path) -> None:
    for name, data in (("a", b""), ("b", bytes(range(256)) * 4), ("c", b"PAR1"), ("d", b"[{,"), ("e", b"x,y\n1,2\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.jsonl").write_bytes(data)
    assert [(place.rows, place.opening) for place in data_places(tmp_path)] == [(0, "")] * 3 + [(1, ""), (0, "")]
