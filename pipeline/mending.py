"""What `--mend` mends: the files that are meant, what the rules make of them, and writing all of them or none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_desk.mending import SHOWN as SHOWN
from data_desk.mending import Mended as Mended
from data_desk.mending import mend, mend_file
from data_desk.writing import put_back, replaced
from lora_trainer.data.dataset import files_of
from lora_trainer.data.findings import Finding
from lora_trainer.errors import DataError, as_disk_error
from pipeline.data_places import DEFAULT_DATA, TRAIN, own_data
from pipeline.request import Request
from pipeline.run.history import History

if TYPE_CHECKING:
    from pipeline.checks.length import Length


@dataclass(frozen=True)
class Rewritten:
    """A file that was written, and what stood there."""

    file: Path
    backup: Path


def files_meant(request: Request, history: History) -> list[Path]:
    """Training and validation file: those that flags name, or those of a character. Raises DataError and UsageError."""
    if request.ollama_name is not None and not request.names_data:
        request = _with_data_of(request.ollama_name, request, history)
    return files_read(request)


def files_read(request: Request) -> list[Path]:
    """The files that a training of this request would read."""
    train, val = files_of(request.data_dir or DEFAULT_DATA, request.train_file, request.val_file)
    return [train, *([val] if val is not None and val.resolve() != train.resolve() else [])]


def _with_data_of(name: str, request: Request, history: History) -> Request:
    """What a character was taught last, else the dialogues in the folder of its name."""
    from ollama_export.server.names import check_name
    from pipeline.run.kept import take_over

    name = check_name(name)
    run = history.newest(name)
    if run is not None:
        taken = take_over(request, run).request
        if taken.rows_of_run is not None:
            raise DataError("error.mend.rows_of_run", name=name, number=taken.rows_of_run)
        return taken
    if not (own_data(name) / TRAIN).is_file():
        raise DataError("error.mend.no_data", name=name, folder=own_data(name))
    return request.answering(data_dir=own_data(name))


def look(files: Sequence[Path], without: Collection[str] = (), length: Length | None = None) -> list[Mended]:
    """What the rules but those in `without` make of the files, the training file first; nothing is written.

    Rows are cut where they are longer than a `length`. Raises DataError.
    """
    mended = [mend_file(file, without) for file in files]
    if length is None:
        return mended
    fits = length.fits(_files(mended))
    return [mend(each.file, each.before, without, fits) for each in mended]


def write(mended: Sequence[Mended]) -> list[Rewritten]:
    """Write what has changed, each file with a backup beside it. Raises DataError, and then nothing has changed."""
    written: list[Rewritten] = []
    try:
        for each in (each for each in mended if each.is_changed):
            if each.file.read_bytes() != each.before:
                raise DataError("error.mend.changed", file=str(each.file))
            backup = replaced(each.file, each.after)
            assert backup is not None
            written.append(Rewritten(each.file, backup))
    except OSError as error:
        undo(written)
        if as_disk_error(error):
            raise
        raise DataError("error.mend.write", file=str(each.file), reason=error.strerror or str(error)) from error
    except BaseException:
        undo(written)
        raise
    return written


def undo(written: Sequence[Rewritten]) -> None:
    """Put all backups back. Raises OSError."""
    for each in written:
        put_back(each.file, each.backup)


def faults_of(mended: Sequence[Mended], length: Length | None = None) -> list[Finding]:
    """What no rule mends, by the lines of the mended files; what is longer than a `length`, too."""
    faults = [fault for each in mended for fault in each.faults]
    return faults if length is None else [*faults, *length.faults(_files(mended))]


def _files(mended: Sequence[Mended]) -> list[tuple[Path, bytes]]:
    return [(each.file, each.after) for each in mended]


def told(mended: Sequence[Mended], written: Sequence[Rewritten], faults: Sequence[Finding]) -> dict[str, Any]:
    """What `--json` tells."""
    backups = {each.file: str(each.backup) for each in written}
    return {
        "status": "left" if faults else "done" if written else "fine",
        "files": [
            {
                "file": str(each.file),
                "backup": backups.get(each.file),
                "repairs": [_told_repair(each, name) for name in each.by_repair],
                "faults": sum(fault.file == str(each.file) for fault in faults),
            }
            for each in mended
        ],
    }


def _told_repair(mended: Mended, name: str) -> dict[str, Any]:
    changes = mended.by_repair[name]
    return {
        "repair": name,
        "count": len(changes),
        "unit": mended.unit,
        "lines": [change.line for change in changes if change.line],
        "places": [
            {"line": change.line, "before": change.before, "after": change.after}
            for change in changes[:SHOWN]
            if change.before or change.after
        ],
    }
