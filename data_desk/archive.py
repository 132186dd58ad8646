"""ZIP archives: the one member of an export that is wanted, read without unpacking anything else.

PKWARE's APPNOTE.TXT, 4.3 (the directory at the end tells every member's size) and 4.4.5 (methods). ChatGPT's export has
`conversations.json` in it (https://github.com/mitkury/chatgpt-export-parser), a CHARX card `card.json`
(https://github.com/kwaroran/character-card-spec-v3, SPEC_V3.md).
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from lora_trainer.errors import DataError

MAGIC = b"PK\x03\x04"
_ENTRY = b"PK\x01\x02"
_WANTED = ("conversations.json", "card.json")
_MOST_ENTRIES = 20_000
"""A year of ChatGPT's pictures are some thousands; each one in the directory takes a kilobyte of memory."""
_LOCKED = 0x1
"""The bit of a member's flags that says that it is encrypted (4.4.4)."""
_BROKEN = (BadZipFile, NotImplementedError, ValueError, OSError, EOFError, struct.error, zlib.error)
"""What zipfile raises for archives that are damaged, or made to look like one."""


def content_of(name: str, data: bytes, most: int) -> bytes:
    """What is to be read of a file: of an archive the wanted member, where it has one; else all of it.

    Raises DataError for an archive that is broken, locked, or would become more than `most` bytes.
    """
    if not data.startswith(MAGIC):
        return data
    archive = opened(name, data)
    found = [each for each in archive.infolist() if each.filename.rpartition("/")[2] in _WANTED]
    if not found:
        return data
    wanted = min(found, key=lambda each: each.filename.count("/"))
    check(name, [wanted], most)
    try:
        return archive.read(wanted)
    except _BROKEN as error:
        raise broken(name, error) from error


def opened(name: str, data: bytes) -> ZipFile:
    """The archive's directory; nothing is unpacked. Raises DataError."""
    # counted before zipfile makes an object of each
    if data.count(_ENTRY) > _MOST_ENTRIES:
        raise DataError("error.import.bomb", file=name)
    try:
        return ZipFile(BytesIO(data))
    except _BROKEN as error:
        raise broken(name, error) from error


def check(name: str, members: list[ZipInfo], most: int) -> None:
    """Raise DataError unless the members can be read and become `most` bytes at most, as the directory has it.

    Neither is more than that read: zipfile stops at the size that is told, and then finds the checksum wrong.
    """
    if any(member.flag_bits & _LOCKED for member in members):
        raise DataError("error.import.locked", file=name)
    if sum(member.file_size for member in members) > most:
        raise DataError("error.import.bomb", file=name)
    # the others want dictionaries of any size
    if any(member.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for member in members):
        raise DataError("error.import.broken", file=name, reason="compression method")


def broken(name: str, error: Exception) -> DataError:
    """What the user is told of a file that can't be read to its end."""
    reason = "".join(character for character in str(error)[:120] if character.isprintable())
    return DataError("error.import.broken", file=name, reason=reason or type(error).__name__)
