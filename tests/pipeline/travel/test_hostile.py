"""Archives that are no run: each is refused by name, in a plain sentence, and nothing of it is left."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.errors import BaseModelError, DataError, UsageError
from pipeline.run.history import History
from pipeline.travel.adopting import adopt
from pipeline.travel.archive import opened
from pipeline.travel.fitting import read_record
from tests.support.program import Program

Files = dict[str, bytes]


def files_of(parcel: Path) -> Files:
    with zipfile.ZipFile(parcel) as packed:
        return {info.filename: packed.read(info) for info in packed.infolist()}


def write(parcel: Path, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(parcel, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)


def add(name: str, content: bytes = b"x", mode: int = 0o100644, **more: Any) -> Callable[[Path], None]:
    """The parcel with one more entry."""

    def change(parcel: Path) -> None:
        with zipfile.ZipFile(parcel, "a", zipfile.ZIP_DEFLATED) as packed:
            info = zipfile.ZipInfo("placeholder")
            # ZipInfo turns the system's own separator round, and cuts names
            info.filename = name
            info.external_attr, info.compress_type = mode << 16, more.get("method", zipfile.ZIP_DEFLATED)
            packed.writestr(info, content)

    return change


def record(**fields: Any) -> Callable[[Path], None]:
    """The parcel with other fields in its record; `a__b` is the field b of a."""

    def change(parcel: Path) -> None:
        files = files_of(parcel)
        values = json.loads(files["run.json"])
        for name, value in fields.items():
            *above, last = name.split("__")
            place = values
            for part in above:
                place = place[part]
            place[last] = value
        write(parcel, {**files, "run.json": json.dumps(values).encode()})

    return change


def replaced(name: str, make: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """The parcel with another content of one file."""

    def change(parcel: Path) -> None:
        files = files_of(parcel)
        write(parcel, {**files, name: make(files[name])})

    return change


def without(name: str) -> Callable[[Path], None]:
    return lambda parcel: write(parcel, {file: content for file, content in files_of(parcel).items() if file != name})


def cut(parcel: Path) -> None:
    parcel.write_bytes(parcel.read_bytes()[:-30])


def locked(parcel: Path) -> None:
    """Say of the first file that it is encrypted, in its own head and in the list."""
    content = bytearray(parcel.read_bytes())
    for sign, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(sign) + at] |= 1
    parcel.write_bytes(content)


def many(parcel: Path) -> None:
    with zipfile.ZipFile(parcel, "a") as packed:
        for number in range(5000):
            packed.writestr(f"more/{number}", b"")


def endless_list(parcel: Path) -> None:
    """An end of the list that speaks of more than there is room for."""
    content = bytearray(parcel.read_bytes())
    at = content.rindex(b"PK\x05\x06")
    content[at + 8 : at + 16] = struct.pack("<HHI", 60000, 60000, 0xFFFFFFF0)
    parcel.write_bytes(content)


def damaged(parcel: Path) -> None:
    """One byte of the weights is another."""
    content = bytearray(parcel.read_bytes())
    at = content.index(b"adapter/adapter_model.safetensors")
    content[at + 1000] ^= 0xFF
    parcel.write_bytes(content)


def other_dialogue(packed: bytes) -> bytes:
    return gzip.compress(gzip.decompress(packed).replace("低头".encode(), "抬头".encode(), 1))


def one_less(packed: bytes) -> bytes:
    return gzip.compress(gzip.decompress(packed).split(b"\n", 1)[1])


def weighed(weight: bytes) -> Callable[[Path], None]:
    """Every answer of the rows with a mark of how much it is learnt."""
    role = b'"role": "assistant"'
    return replaced(
        "rows.jsonl.gz",
        lambda packed: gzip.compress(gzip.decompress(packed).replace(role, role + b', "weight": ' + weight)),
    )


def config(**values: Any) -> Callable[[Path], None]:
    return replaced(
        "adapter/adapter_config.json", lambda content: json.dumps({**json.loads(content), **values}).encode()
    )


def other_rank(weights: bytes) -> bytes:
    """Each A with one row less."""
    from safetensors.torch import load, save

    tensors = load(weights)
    return save({name: tensor[:-1].clone() if "lora_A" in name else tensor for name, tensor in tensors.items()})


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a name that climbs": (add("../../evil.txt"), "name"),
    "a name that climbs within": (add("adapter/../../../evil"), "name"),
    "an absolute name": (add("/tmp/evil.txt"), "name"),
    "a drive": (add("C:/evil.txt"), "name"),
    "a backslash": (add("adapter\\evil.txt"), "name"),
    "a name with what a terminal obeys": (add("\x1b[2Jevil"), "name"),
    "a link": (add("adapter/link", b"/etc/passwd", stat.S_IFLNK | 0o777), "link"),
    "a device": (add("null", b"", stat.S_IFCHR | 0o666), "link"),
    "a name twice": (add("run.json", b"{}"), "twice"),
    "a name that differs in case": (add("Adapter/ADAPTER_CONFIG.json", b"{}"), "twice"),
    "a second record": (lambda parcel: nest(parcel), "several"),
    "another method": (add("run2.json", b"x" * 100, method=zipfile.ZIP_BZIP2), "method"),
    "a bomb": (replaced("rows.jsonl.gz", lambda _: bytes(60 << 20)), "grows"),
    "a bomb in the rows": (replaced("rows.jsonl.gz", lambda _: gzip.compress(bytes(80 << 20))), "grows"),
    "too large a record": (replaced("run.json", lambda text: text + os.urandom(17 << 20)), "large"),
    "a locked file": (locked, "locked"),
    "very many files": (many, "many"),
    "an endless list": (endless_list, "many"),
    "a file that was cut": (cut, "no_zip"),
    "no zip": (lambda parcel: parcel.write_bytes(b"hello") and None, "no_zip"),
    "a byte that changed": (damaged, "damaged"),
    "no record": (without("run.json"), "no_record"),
    "no adapter": (without("adapter/adapter_model.safetensors"), "lacks"),
    "no JSON": (replaced("run.json", lambda _: b'{"schema": 2'), "no_json"),
    "JSON without end": (replaced("run.json", lambda _: b"[" * 200_000), "no_json"),
    "no object": (replaced("run.json", lambda _: b"[]"), "record"),
    "a later version": (record(schema=99), "newer"),
    "a schema that never was": (record(schema=0), "record"),
    "a name that is a path": (record(name="../../x"), "record"),
    "a name that a terminal obeys": (record(note="\x1b]0;evil\x07"), "record_signs"),
    "a number that is none": (replaced("run.json", lambda text: text.replace(b'"seconds": ', b'"seconds": NaN, "x": ')),
                              "record_signs"),
    "a number in place of text": (record(system=7), "record"),
    "text in place of a number": (record(plan__epochs="2"), "record"),
    "an endless training": (record(plan__epochs=1e9), "record"),
    "a base model that is a path": (record(base__source="a/b/c", base__revision="a" * 40), "record"),
    "not trained": (record(stages={}), "untrained"),
    "an adapter of another rank": (record(plan__lora_rank=4), "adapter"),
    "an adapter of other shapes": (replaced("adapter/adapter_model.safetensors", other_rank), "adapter"),
    "an adapter that brings code": (config(auto_mapping={"parent_library": "os"}), "adapter"),
    "an adapter with patterns": (config(rank_pattern={"(a+)+$": 1}), "adapter"),
    "an adapter that isn't one": (replaced("adapter/adapter_model.safetensors", lambda _: b"\xff" * 100), "adapter"),
    "another dialogue": (replaced("rows.jsonl.gz", other_dialogue), "rows"),
    "one dialogue less": (replaced("rows.jsonl.gz", one_less), "rows"),
    "rows of which nothing is learnt": (weighed(b"0"), "rows_unread"),
    "rows of a weight that there isn't": (weighed(b"0.5"), "rows_unread"),
    "rows that are none": (replaced("rows.jsonl.gz", lambda _: gzip.compress(b'{"part": "train"}\n')), "rows_unread"),
}  # fmt: skip


def nest(parcel: Path) -> None:
    """Two runs, each in a folder."""
    files = files_of(parcel)
    write(parcel, {f"{number}/{name}": content for number in (1, 2) for name, content in files.items()})


@pytest.fixture
def home(tmp_path: Path) -> Program:
    return Program(tmp_path / "家 home", rows=4)


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_run_is_refused_by_name_and_nothing_of_it_is_left(
    home: Program, small: Path, tmp_path: Path, kind: str
) -> None:
    change, why = HOSTILE[kind]
    parcel = Path(shutil.copyfile(small, tmp_path / "包.zip"))
    change(parcel)
    before = sorted(tmp_path.rglob("*"))
    expect = 2 if why == "newer" else 4
    told = home.run_bare("--adopt", str(parcel), "--base_model", str(home.base), expect=expect)
    assert told["error"]["key"] == f"error.adopt.{why}"
    assert "包.zip" in told["error"]["message"] and "\x1b" not in told["error"]["message"] + told["shown"]
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/tmp/evil.txt").exists()


def test_a_parcel_that_nobody_changed_is_taken_in(home: Program, small: Path) -> None:
    told = home.run_bare("--adopt", str(small), expect=6)
    assert told["error"]["key"] == "error.adopt.no_base"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders here")
def test_a_folder_with_links_or_pipes_in_place_of_files_is_refused(home: Program, small: Path, tmp_path: Path) -> None:
    for name, make in (
        ("run.json", lambda path: path.symlink_to("/etc/hostname")),
        ("adapter/adapter_model.safetensors", os.mkfifo),
        ("rows.jsonl.gz", lambda path: path.symlink_to("/dev/zero")),
    ):
        folder = tmp_path / "folder"
        with zipfile.ZipFile(small) as packed:
            packed.extractall(folder)
        (folder / name).unlink()
        make(folder / name)
        told = home.run_bare("--adopt", str(folder), expect=4)
        assert told["error"]["key"] == "error.adopt.link", name
        shutil.rmtree(folder)
    assert not home.history.home.exists()


def test_an_adapter_that_is_a_link_to_a_folder_is_not_followed(home: Program, small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with zipfile.ZipFile(small) as packed:
        packed.extractall(folder)
    (folder / "adapter").rename(tmp_path / "elsewhere")
    (folder / "adapter").symlink_to(tmp_path / "elsewhere")
    told = home.run_bare("--adopt", str(folder), expect=4)
    assert told["error"]["key"] == "error.adopt.lacks"


class _Here(Exception):
    """What was looked at fits: only the base model is left to be found."""


def _taken(parcel: Path, history: History) -> None:
    def base() -> dict[str, Any]:
        raise _Here

    with opened(parcel) as archive, history.lock("zzhua"):
        adopt(archive, read_record(archive), "zzhua", history, base)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_bytes_are_changed_it_is_refused_or_whole(small: Path, tmp_path: Path, seed: int) -> None:
    chance, content = random.Random(seed), small.read_bytes()
    record_text = files_of(small)["run.json"]
    refused = 0
    for number in range(40):
        parcel = tmp_path / "changed.zip"
        if number % 2:
            changed = bytearray(content)
            for _ in range(chance.randint(1, 8)):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            parcel.write_bytes(changed[: chance.choice([len(changed)] * 3 + [chance.randrange(len(changed))])])
        else:
            write(parcel, {**files_of(small), "run.json": _other_values(record_text, chance)})
        history = History(tmp_path / "runs")
        try:
            _taken(parcel, history)
        except (DataError, UsageError, BaseModelError):
            refused += 1
        except _Here:
            pass
        assert not history.home.exists()
    assert refused > 10


def _other_values(text: bytes, chance: random.Random) -> bytes:
    """A record in which some values are of another kind, wherever they stand."""
    strange: list[Any] = [None, True, -1, 1e308, "", "x", "\u0000", [], {}, [[]], {"a": {}}, 1 << 70, "../..", 0.5]
    values = json.loads(text)
    for _ in range(chance.randint(1, 3)):
        place, steps = values, chance.randint(1, 4)
        for step in range(steps):
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = chance.choice(keys)
            if step == steps - 1 or not isinstance(place[key], dict | list):
                place[key] = chance.choice(strange)
                break
            place = place[key]
    return json.dumps(values).encode()


def test_a_zip_in_a_zip_is_no_run(home: Program, small: Path, tmp_path: Path) -> None:
    inner = io.BytesIO(small.read_bytes())
    write(tmp_path / "outer.zip", {"zzhua-1.zip": inner.getvalue()})
    told = home.run_bare("--adopt", str(tmp_path / "outer.zip"), expect=4)
    assert told["error"]["key"] == "error.adopt.no_record"
