"""A data file and what the rules make of it: every repair with its places, and nothing else changed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_desk.repairs.edit import Change, difference
from data_desk.repairs.order import REPAIRS, mended_row
from data_desk.repairs.pieces import Laid, Piece, laid_out
from data_desk.repairs.too_long import Fits as Fits
from lora_trainer.data.encodings import NAMES
from lora_trainer.data.files import BOM, as_utf8, read_bytes
from lora_trainer.data.findings import Finding
from lora_trainer.data.formats import read_row
from lora_trainer.data.layouts.file_row import BadFile, Unit
from lora_trainer.data.layouts.parquet import MAGIC
from lora_trainer.data.reading import Reader
from lora_trainer.data.written import shown
from lora_trainer.errors import DataError

SHOWN = 3
"""Places of a repair whose words are told; of the others the lines."""

_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Mended:
    """A file before and after."""

    file: Path
    before: bytes
    after: bytes
    changes: tuple[Change, ...] = ()
    unit: Unit = "line"
    """What the changes' places are counted in."""

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to write."""
        return self.after != self.before

    @property
    def by_repair(self) -> Mapping[str, list[Change]]:
        """The changes of each repair, in the order in which the repairs are told."""
        found: dict[str, list[Change]] = {name: [] for name in REPAIRS}
        for change in self.changes:
            found[change.repair].append(change)
        return {name: changes for name, changes in found.items() if changes}

    @property
    def faults(self) -> list[Finding]:
        """What no rule mends, by the lines of the mended file; of a file that is left without rows, that."""
        reader = Reader(None)
        try:
            reader.take(self.file, self.after)
        except DataError as error:
            return [Finding("fault", str(self.file), 0, error.key, error.values)]
        return [finding for finding in reader.findings if finding.kind == "fault"]


def mend_file(file: Path, without: Collection[str] = ()) -> Mended:
    """A file and what all rules but those in `without` make of it; nothing is written. Raises DataError."""
    return mend(file, read_bytes(file), without)


def mend(file: Path, data: bytes, without: Collection[str] = (), fits: Fits | None = None) -> Mended:
    """The same of a file's bytes; rows are cut where they are too long for what `fits`.

    Parquet and tables are left as they are.
    """
    if data.startswith(MAGIC):
        return Mended(file, data, data)
    try:
        utf8, codec = as_utf8(data)
    except BadFile:
        return Mended(file, data, data)
    text = utf8.decode("utf-8", "surrogateescape")
    laid = laid_out(text, without)
    if laid is None:
        return Mended(file, data, data)
    keeps_array = laid.kind == "array" and (file.suffix.casefold() == ".json" or "array" in without)
    of_rows = [*laid.changes, *_of_rows(laid.pieces, without, fits)]
    if laid.kind == "array" and not keeps_array:
        of_rows.append(Change("array", 0, "[{…}, {…}]", "{…}"))
    changes = [*of_rows]
    if "encoding" not in without and (codec != "utf-8" or data.startswith(BOM)):
        changes.append(Change("encoding", 0, NAMES[codec] + (" BOM" if data.startswith(BOM) else ""), "UTF-8"))
        codec = "utf-8"
    if not changes:
        return Mended(file, data, data)
    # an old encoding lacks characters that a mended row may have
    plain = codec != "utf-8"
    after = (_written(laid, keeps_array, plain) if of_rows else text).encode(codec, "surrogateescape")
    return Mended(file, data, after, tuple(changes), laid.unit)


def _of_rows(pieces: Sequence[Piece], without: Collection[str], fits: Fits | None) -> Iterator[Change]:
    """Mend what the rows say, and take those away that were there before."""
    seen: dict[tuple[Any, ...], int] = {}
    told: Counter[str] = Counter()
    for piece in pieces:
        kept = []
        for value in piece.values or ():
            row, used = mended_row(value, without, fits) if isinstance(value, dict) else (value, [])
            for each in used:
                told[each.repair] += 1
                words = (
                    difference(_dumped(each.before), _dumped(each.after)) if told[each.repair] <= SHOWN else ("", "")
                )
                yield Change(each.repair, piece.line, *words)
            key = None if "duplicates" in without else _key(row)
            if key is not None and key in seen:
                words = (shown(f"{piece.line}: {key[-2][1]}"), f"= {seen[key]}")
                yield Change("duplicates", piece.line, *words)
                piece.mended = True
                continue
            if key is not None:
                seen[key] = piece.line
            kept.append(row)
            piece.mended |= bool(used)
        if piece.values is not None:
            piece.values = kept


def _key(row: Any) -> tuple[Any, ...] | None:
    """What makes two rows the same dialogue; None for a row with faults."""
    read = read_row(row)
    if read.faults:
        return None
    return (*((message["role"], message["content"]) for message in read.messages), read.unlearnt)


def _written(laid: Laid, keeps_array: bool, plain: bool) -> str:
    if laid.kind == "lines":
        return "".join(_line(piece, plain) for piece in laid.pieces)
    rows = [_dumped(value, plain) for piece in laid.pieces for value in piece.values or ()]
    return "[\n" + ",\n".join(rows) + "\n]\n" if keeps_array else "".join(f"{row}\n" for row in rows)


def _line(piece: Piece, plain: bool) -> str:
    if piece.raw is None or not piece.mended:
        return (piece.raw or "") + piece.end
    rows = [_dumped(value, plain) for value in piece.values or ()]
    return (piece.end or "\n").join(rows) + piece.end if rows else ""


def _dumped(value: Any, plain: bool = False) -> str:
    text = json.dumps(value, ensure_ascii=plain)
    # half a surrogate pair can't be written as it is
    return text if plain or not _HALF.search(text) else json.dumps(value)
