"""A packed run as it comes from elsewhere, a folder or a zip: nothing in it is believed.

What a run is made of has fixed names; all else is passed over unread. A name that leads anywhere else, two names that a
file system takes for one, links, devices, and more than a run can be are refused, before anything is written.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lora_trainer.errors import DataError

RECORD, ROWS = "run.json", "rows.jsonl.gz"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BEGUN_WITH = "begun_with"
"""The folder of the adapter that a run began with, where that was another run's."""
_MEGABYTE = 1 << 20
_LIMITS = (
    (re.compile(re.escape(RECORD)), 16 * _MEGABYTE),
    (re.compile(re.escape(ROWS)), 256 * _MEGABYTE),
    (re.compile(rf"(adapter|points/[0-9]{{1,9}}|{BEGUN_WITH})/{re.escape(CONFIG)}"), _MEGABYTE),
    # a zip of the plain format holds no larger one
    (re.compile(rf"(adapter|points/[0-9]{{1,9}}|{BEGUN_WITH})/{re.escape(WEIGHTS)}"), (1 << 32) - 1),
)
"""What a run is made of, and the most bytes of each."""
MOST_MEMBERS = 4096
"""Names in an archive: also a whole folder of a run, with its checkpoints, has far fewer."""
_MOST_DIRECTORY = 4 * _MEGABYTE
"""Bytes of a zip's list of names."""
_MOST_GROWTH = 200
"""How many times larger than packed a file may be, beyond `_SMALL`: weights and text are far from it."""
_SMALL = 4 * _MEGABYTE
_PIECE = 1 << 20
_DEPTH = 3
"""Folders that may stand around a run's own."""
_DRIVE = re.compile(r"[A-Za-z]:")
_KINDS = (0, stat.S_IFREG, stat.S_IFDIR)


@dataclass(frozen=True)
class Member:
    """One file: its name below the run's folder, the bytes that it says to have, and how it is opened."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


class Archive:
    """The files that a run is made of, of those in `place`."""

    def __init__(self, place: Path, members: Mapping[str, Member]) -> None:
        self.place = place
        self.members = _of_a_run(place, members)

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self.members

    def size(self, names: Iterator[str] | list[str]) -> int:
        """Bytes of some files together."""
        return sum(self.members[name].size for name in names)

    def read(self, name: str) -> bytes:
        """A small file, whole; raises DataError."""
        return b"".join(self._pieces(name))

    def copy(self, name: str, to: Path) -> None:
        """Write a file, and wait for the disk; raises DataError, OSError."""
        to.parent.mkdir(parents=True, exist_ok=True)
        with to.open("xb") as file:
            for piece in self._pieces(name):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    def _pieces(self, name: str) -> Iterator[bytes]:
        member, done = self.members[name], 0
        try:
            with member.open() as source:
                while piece := source.read(_PIECE):
                    done += len(piece)
                    if done > member.size:
                        break
                    yield piece
        except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zlib.error, zipfile.BadZipFile) as e:
            if isinstance(e, OSError) and e.errno is not None:
                raise
            raise DataError("error.adopt.damaged", file=self.place, member=name, reason=str(e)) from e
        if done != member.size:
            reason = f"{done} bytes in place of {member.size}"
            raise DataError("error.adopt.damaged", file=self.place, member=name, reason=reason)


@contextmanager
def opened(place: Path) -> Iterator[Archive]:
    """A folder or a zip to read a run from; raises DataError where it isn't one, or holds what a run can't be."""
    if place.is_dir():
        yield Archive(place, _in_folder(place))
        return
    if not place.is_file():
        raise DataError("error.adopt.nothing", file=place)
    _check_directory(place)
    try:
        packed = zipfile.ZipFile(place)
    except (zipfile.BadZipFile, ValueError, EOFError, struct.error, NotImplementedError) as error:
        raise DataError("error.adopt.no_zip", file=place, reason=str(error)) from error
    with packed:
        yield Archive(place, _in_zip(place, packed))


def _check_directory(place: Path) -> None:
    """Look at how long the list of names is before anybody reads it."""
    size = place.stat().st_size
    with place.open("rb") as file:
        file.seek(max(0, size - 65_600))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise DataError("error.adopt.no_zip", file=place, reason="no list of names at its end")
    # APPNOTE.TXT 4.3.16: entries in total, bytes of the list
    count, listed = struct.unpack_from("<HI", tail, at + 10)
    is_64 = b"PK\x06\x07" in tail[max(0, at - 20) : at]
    if is_64 or count > MOST_MEMBERS or listed > _MOST_DIRECTORY:
        raise DataError("error.adopt.many", file=place, most=MOST_MEMBERS)


def _in_zip(place: Path, packed: zipfile.ZipFile) -> dict[str, Member]:
    infos = packed.infolist()
    if len(infos) > MOST_MEMBERS:
        raise DataError("error.adopt.many", file=place, most=MOST_MEMBERS)
    found: dict[str, Member] = {}
    for info in infos:
        # as it stands there: zipfile cuts it behind a zero
        name = info.orig_filename
        _check_name(place, name.removesuffix("/"))
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in _KINDS:
            raise DataError("error.adopt.link", file=place, member=_shown(name))
        if name in found:
            raise DataError("error.adopt.twice", file=place, member=_shown(name), other=_shown(name))
        if not info.is_dir():
            found[name] = _member(place, packed, info)
        elif info.file_size:
            raise DataError("error.adopt.damaged", file=place, member=_shown(name), reason="a folder with content")
    return found


def _member(place: Path, packed: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    name = _shown(info.filename)
    if info.flag_bits & 1:
        raise DataError("error.adopt.locked", file=place, member=name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError("error.adopt.method", file=place, member=name)
    if info.file_size > _SMALL and info.file_size > _MOST_GROWTH * info.compress_size:
        raise DataError("error.adopt.grows", file=place, member=name, size=_megabytes(info.file_size))
    return Member(info.filename, info.file_size, lambda: packed.open(info))


def _in_folder(place: Path) -> dict[str, Member]:
    """The files below a folder, few folders deep; a link is no file of a run's, wherever it leads."""
    found: dict[str, Member] = {}
    count = 0
    folders = [(place, "", 0)]
    while folders:
        folder, prefix, depth = folders.pop()
        for entry in os.scandir(folder):
            name, count = prefix + entry.name, count + 1
            if count > MOST_MEMBERS:
                raise DataError("error.adopt.many", file=place, most=MOST_MEMBERS)
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                if depth < _DEPTH + 2:
                    folders.append((Path(entry.path), f"{name}/", depth + 1))
                continue
            regular = stat.S_ISREG(status.st_mode)
            found[name] = Member(name, status.st_size if regular else -1, _opener(Path(entry.path)))
    return found


def _opener(path: Path) -> Callable[[], IO[bytes]]:
    def open_it() -> IO[bytes]:
        # what has become a link or a pipe since it was looked at is neither followed nor waited for
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        return os.fdopen(os.open(path, flags), "rb")

    return open_it


def _check_name(place: Path, name: str) -> None:
    parts = name.split("/")
    leads_out = name.startswith("/") or "\\" in name or _DRIVE.match(name) or {"", ".", ".."} & {*parts}
    if leads_out or any(unicodedata.category(letter) == "Cc" for letter in name) or len(name) > 1024:
        raise DataError("error.adopt.name", file=place, member=_shown(name))


def _of_a_run(place: Path, members: Mapping[str, Member]) -> dict[str, Member]:
    """Those of one run, by their names below its folder, which is where its record is."""
    same: dict[str, str] = {}
    for name in members:
        folded = unicodedata.normalize("NFC", name).casefold()
        if other := same.get(folded):
            raise DataError("error.adopt.twice", file=place, member=_shown(name), other=_shown(other))
        same[folded] = name
    above = sorted((name.count("/"), name.removesuffix(RECORD)) for name in members if _is_record(name))
    if not above:
        raise DataError("error.adopt.no_record", file=place)
    if len(above) > 1 and above[0][0] == above[1][0]:
        raise DataError("error.adopt.several", file=place)
    prefix = above[0][1]
    found = {}
    for name, member in members.items():
        own = name[len(prefix) :] if name.startswith(prefix) else ""
        most = next((limit for pattern, limit in _LIMITS if pattern.fullmatch(own)), None)
        if most is None:
            continue
        if member.size < 0:
            raise DataError("error.adopt.link", file=place, member=_shown(name))
        if member.size > most:
            raise DataError("error.adopt.large", file=place, member=_shown(name), most=_megabytes(most))
        found[own] = Member(own, member.size, member.open)
    return found


def _is_record(name: str) -> bool:
    folder, _, own = name.rpartition("/")
    return own == RECORD and name.count("/") <= _DEPTH and not folder.startswith("__MACOSX")


def _shown(name: str) -> str:
    """A name as it can be said: short, on one line, without what a terminal obeys."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    return plain if len(plain) <= 80 else plain[:79] + "…"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
