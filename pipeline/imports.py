"""What `--import` asks for: how the files are read, into which folder, and what is told of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_desk.desk import Found as Found
from data_desk.desk import Gathered as Gathered
from data_desk.desk import gather
from data_desk.desk import look as look
from data_desk.desk import speakers as speakers
from data_desk.dialogue import PAUSE
from data_desk.dialogue import Choices as Choices
from data_desk.dialogue import Dialogue as Dialogue
from data_desk.dialogue import Tally as Tally
from data_desk.importers.table import NAMES
from data_desk.privacy.stand_ins import StandIns
from data_desk.writing import Written as Written
from data_desk.writing import add as add
from data_desk.writing import check_place as check_place
from lora_trainer.errors import UsageError
from pipeline.data_places import own_data
from pipeline.request import Request


def choices_of(request: Request) -> Choices:
    """What the flags decide about the files. Raises UsageError."""
    return Choices(
        character=request.character,
        pause=PAUSE if request.pause is None else request.pause,
        drop=listed(request.drop_words),
        columns=_columns(request.columns),
    )


def listed(words: str | None) -> tuple[str, ...]:
    """The parts of a list that is written with commas, Chinese ones too."""
    return tuple(word.strip() for word in re.split("[,，]", words or "") if word.strip())


def _columns(given: str | None) -> dict[str, str]:
    """What a column is for -> its head, of `user=问,character=答`."""
    found = {}
    for part in listed(given):
        name, equals, head = (word.strip() for word in part.partition("="))
        if name not in NAMES or not equals or not head:
            raise UsageError("error.import.columns_flag", value=given, names=" / ".join(NAMES))
        found[name] = head
    return found


def check_character(found: Sequence[Found], character: str) -> None:
    """Raise UsageError where chat logs are among the files and nobody in them has this name."""
    known = speakers(found)
    if known and character not in known:
        raise UsageError("error.import.no_speaker", character=character, speakers=told_speakers(found))


def check_columns(found: Sequence[Found], choices: Choices) -> None:
    """Raise UsageError where a column was named that no table among the files has."""
    heads = {head.casefold(): head for each in found for head in each.heads}
    for head in choices.columns.values():
        if heads and head.casefold() not in heads:
            raise UsageError("error.import.no_column", column=head, heads=", ".join(heads.values()))


def told_speakers(found: Sequence[Found]) -> str:
    """Who speaks how often in the chat logs, for a message."""
    most = speakers(found).most_common(12)
    return ", ".join(f"{name} ({count})" for name, count in most) + (" …" if len(speakers(found)) > 12 else "")


def place_of(request: Request) -> Path | None:
    """The folder that the rows go to; None where no flag says it."""
    if request.data_dir is not None:
        return request.data_dir
    if request.ollama_name is None:
        return None
    from ollama_export.server.names import check_name

    return own_data(check_name(request.ollama_name))


def read(found: Sequence[Found], choices: Choices, request: Request) -> Gathered:
    """The dialogues of the files, with stand-ins for private details unless they are to be kept. Raises DataError."""
    stand_ins = None if request.keep_private else StandIns(listed(request.private_names))
    return gather(found, choices, stand_ins)


def told(found: Sequence[Found], unknown: Sequence[Path], gathered: Gathered, written: Written) -> dict[str, Any]:
    """What `--json` tells."""
    return {
        "status": "done",
        "files": [_told_file(each, gathered) for each in found],
        "unknown": [str(path) for path in unknown],
        "rows": len(gathered.dialogues),
        "added": written.added,
        "known": written.known,
        "before": written.before,
        "left": dict(gathered.left),
        "private": dict(gathered.private),
        "file": str(written.file),
        "backup": str(written.backup) if written.backup else None,
    }


def _told_file(found: Found, gathered: Gathered) -> dict[str, Any]:
    first, last = found.tally.first, found.tally.last
    return {
        "file": str(found.path),
        "format": found.importer.name,
        "guess": found.importer.is_guess,
        "encoding": found.encoding or None,
        "sheet": found.sheet or None,
        "speakers": dict(found.tally.speakers.most_common()),
        "first": first.isoformat() if first else None,
        "last": last.isoformat() if last else None,
        "rows": gathered.rows[found.path],
    }
