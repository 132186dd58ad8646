"""Files that mean harm, or were broken on their way: rows or a told error, never a crash, never without an end."""

from __future__ import annotations

import base64
import json
import random
import struct
import zlib
from pathlib import Path

import pytest

from data_desk import sample as sample_module
from data_desk.png import text_chunks
from data_desk.sample import open_sample
from lora_trainer.errors import DataError, UserError
from tests.data_desk.samples import all_samples
from tests.fuzz.imports import harmed, taken

SEED, CASES = 20_260, 400


def chunk(kind: bytes, data: bytes, length: int | None = None) -> bytes:
    told = struct.pack(">I", len(data) if length is None else length)
    return told + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def picture(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join([*chunks, chunk(b"IEND", b"")])


def rows_of(path: Path) -> int:
    """How many rows a file becomes; -1 where it is refused by an error that the user is told."""
    try:
        dialogues = taken(path)
    except UserError:
        return -1
    for dialogue in dialogues:
        json.dumps(dialogue.as_row, ensure_ascii=False).encode("utf-8")
    return len(dialogues)


@pytest.mark.timeout(300)
def test_hundreds_of_broken_files_of_every_format_become_rows_or_are_refused(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    samples = all_samples()
    counts = []
    for number in range(CASES):
        path = tmp_path / "broken"
        path.write_bytes(harmed(samples[number % len(samples)].path.read_bytes(), chance))
        counts.append(rows_of(path))
    # some are broken only a little
    assert sum(count > 0 for count in counts) > CASES / 8 and -1 in counts


def test_a_compressed_text_in_a_picture_is_not_unpacked(tmp_path: Path) -> None:
    bomb = zlib.compress(b"A" * 50_000_000, 9)
    path = tmp_path / "bomb.png"
    path.write_bytes(picture(chunk(b"zTXt", b"chara\0\0" + bomb), chunk(b"iTXt", b"ccv3\0\1\0\0\0" + bomb)))
    assert rows_of(path) == -1 and text_chunks(path.read_bytes(), ("chara", "ccv3"), 1 << 20) == {}


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFFF, 5000])
def test_a_chunk_that_says_it_is_longer_than_the_file_is_not_read(tmp_path: Path, length: int) -> None:
    path = tmp_path / "long.png"
    path.write_bytes(picture(chunk(b"tEXt", b"chara\0e30=", length)))
    assert rows_of(path) == -1


def test_a_card_that_is_too_large_is_not_read() -> None:
    card = base64.b64encode(b" " * 3000)
    assert text_chunks(picture(chunk(b"tEXt", b"chara\0" + card)), ("chara",), 1000) == {}


def test_a_picture_of_nothing_but_empty_chunks_ends(tmp_path: Path) -> None:
    path = tmp_path / "many.png"
    path.write_bytes(picture(*[chunk(b"tEXt", b"")] * 200_000))
    assert rows_of(path) == -1


def test_a_file_that_is_far_too_large_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_module, "MOST_BYTES", 1000)
    (tmp_path / "a.txt").write_bytes(b"x" * 1001)
    with pytest.raises(DataError) as refused:
        open_sample(tmp_path / "a.txt")
    assert refused.value.key == "error.import.large"


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01 10:00:00 " + "x" * 2_000_000,
        "12/31/23, 9:41 PM - A: " + ": " * 500_000,
        "12/31/23, 9:41 PM - A: hi\n12/31/23, 9:42 PM - B: a" + " " * 500_000 + "b <",
        "问：" + "：" * 1_000_000 + "\n答：a",
        "a,b\n" + '"' * 1_000_001,
        "a,b\n" + "x" * 2_000_000 + ",y\n",
        "[" * 1_000_000,
        '{"messages": ' * 20_000,
        '{"prompt": "a", "completion": "b", "x": ' + "[" * 900 + "]" * 900 + "}",
        "2024-01-01 10:00:00 a\n" + "b\n" * 300_000,
        "甲 2024-01-01 10:00:00\na\n乙 2024-01-01 10:00:00\nb\n" * 20_000,
    ],
    ids=range(11),
)
def test_endless_lines_and_nests_end(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    rows_of(path)
