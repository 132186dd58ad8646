"""What people bring in, mutated: the samples of every importer, and what an import makes of them."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from random import Random
from zipfile import ZIP_DEFLATED, ZipFile

from data_desk.desk import gather, look
from data_desk.dialogue import Choices, Dialogue
from data_desk.privacy.stand_ins import StandIns
from lora_trainer.data.formats import read_row
from lora_trainer.errors import DataError
from tests.data_desk.samples import all_samples

ODD = (
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b'"',
    b"[" * 3000,
    b"{",
    b"\r",
    b"\n",
    b": ",
    b"1" * 5000,
    b"\xf0\x9f",
    b"{{char}}",
    b"<START>",
)
OLD = '{"messages": [{"role": "user", "content": "在吗"}, {"role": "assistant", "content": "在的。"}]}\n'
"""The row that was there before."""


def harmed(data: bytes, chance: Random) -> bytes:
    """A file with one to three changes; of an archive mostly one of its members."""
    is_archive = data.startswith(b"PK") and chance.random() < 0.7
    return _harmed_inside(data, chance) if is_archive else _harmed(data, chance)


def _harmed(data: bytes, chance: Random) -> bytes:
    """Bytes changed, pieces taken out, put in, doubled or from another place."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        at, length = chance.randrange(len(changed) + 1), chance.randint(1, 60)
        way = chance.randrange(5)
        if way == 0:
            changed[at : at + 1] = bytes([chance.randrange(256)])
        elif way == 1:
            del changed[at : at + length]
        elif way == 2:
            changed[at:at] = chance.choice(ODD)
        elif way == 3:
            changed[at:at] = changed[at : at + length] * chance.randint(1, 40)
        else:
            del changed[max(at, len(changed) // 2) :]
        changed = changed or bytearray(b"x")
    return bytes(changed)


def _harmed_inside(data: bytes, chance: Random) -> bytes:
    """An archive that is whole, with one of its members changed."""
    old, written = ZipFile(BytesIO(data)), BytesIO()
    broken = chance.choice(old.namelist())
    with ZipFile(written, "w", ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, _harmed(old.read(name), chance) if name == broken else old.read(name))
    return written.getvalue()


def taken(path: Path) -> list[Dialogue]:
    """The dialogues that a file becomes, whoever speaks most being the character. Raises DataError."""
    found, _ = look([path])
    speakers = found[0].tally.speakers.most_common(1)
    choices = Choices(speakers[0][0] if speakers else None, columns={"character": (found[0].heads or ("",))[-1]})
    return list(gather(found, choices, StandIns(["林栀"])).dialogues)


def mutate_import(_: Path, folder: Path, chance: Random) -> None:
    """A case: a broken sample, and a folder with a row of the user's."""
    (folder / "given").write_bytes(harmed(chance.choice(all_samples()).path.read_bytes(), chance))
    (folder / "into").mkdir()
    (folder / "into" / "train.jsonl").write_text(OLD, encoding="utf-8")


def use_import(folder: Path) -> None:
    """Bring it in; nothing but the training file is changed, and what was in it stays. Raises DataError."""
    from pipeline.imports import add

    given, into = folder / "given", folder / "into" / "train.jsonl"
    before = given.read_bytes()
    try:
        dialogues = taken(given)
        if not dialogues:
            raise DataError("error.import.nothing", files=str(given))
        add(dialogues, into.parent)
        lines = into.read_text(encoding="utf-8").splitlines(keepends=True)
        assert lines[0] == OLD and not any(read_row(json.loads(line)).faults for line in lines)
        assert {path.name for path in into.parent.iterdir()} <= {"train.jsonl", "train.jsonl.backup-1"}
    except DataError:
        assert into.read_text(encoding="utf-8") == OLD and len(list(into.parent.iterdir())) == 1
        raise
    finally:
        assert given.read_bytes() == before and {path.name for path in folder.iterdir()} == {"given", "into"}
