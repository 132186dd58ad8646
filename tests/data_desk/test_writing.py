"""Rows are added to what stands there: nothing is lost, and nothing is overwritten without a backup beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_desk import writing
from data_desk.dialogue import Dialogue
from data_desk.writing import add
from lora_trainer.errors import DataError


def dialogue(word: str) -> Dialogue:
    return Dialogue(({"role": "user", "content": word}, {"role": "assistant", "content": f"（点头）{word}"}))


def words(file: Path) -> list[str]:
    return [json.loads(line)["messages"][0]["content"] for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_new_folder_is_made_and_needs_no_backup(tmp_path: Path) -> None:
    written = add([dialogue("a"), dialogue("b")], tmp_path / "新 new")
    assert (written.before, written.added, written.known, written.backup) == (0, 2, 0, None)
    assert words(written.file) == ["a", "b"] and [path.name for path in written.file.parent.iterdir()] == [
        "train.jsonl"
    ]


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_what_stands_there_stays_before_the_new_rows_and_as_a_backup(tmp_path: Path, end: str) -> None:
    add([dialogue("a")], tmp_path)
    file = tmp_path / "train.jsonl"
    before = b"\xef\xbb\xbf" + file.read_bytes().strip() + end.encode()
    file.write_bytes(before)
    written = add([dialogue("b")], tmp_path)
    assert words(file) == ["a", "b"] and written.backup is not None and written.backup.read_bytes() == before
    again = add([dialogue("c")], tmp_path)
    assert again.backup is not None and again.backup != written.backup and words(again.backup) == ["a", "b"]


def test_a_row_that_stands_there_already_is_not_added_again(tmp_path: Path) -> None:
    add([dialogue("a")], tmp_path)
    written = add([dialogue("a"), dialogue("b"), dialogue("b")], tmp_path)
    assert (written.added, written.known) == (1, 2) and words(written.file) == ["a", "b"]
    before = sorted(tmp_path.iterdir())
    assert add([dialogue("b")], tmp_path).backup is None and sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("content", ['[{"messages": []}]', '{"text": "你好"}'.encode("gb18030"), "just words\n"])
def test_a_file_that_nothing_can_be_added_to_is_refused_and_stays(tmp_path: Path, content: str | bytes) -> None:
    file = tmp_path / "train.jsonl"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    before = file.read_bytes()
    with pytest.raises(DataError) as refused:
        add([dialogue("a")], tmp_path)
    assert refused.value.key == "error.import.other_file"
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add([dialogue("a")], tmp_path)

    def fail(_: Path) -> None:
        raise OSError(28, "No space left on device")

    real = writing.sync_file
    monkeypatch.setattr(writing, "sync_file", lambda path: fail(path) if path.suffix == ".part" else real(path))
    with pytest.raises(OSError, match="No space"):
        add([dialogue("b")], tmp_path)
    assert words(tmp_path / "train.jsonl") == ["a"] and not list(tmp_path.glob("*.part"))
