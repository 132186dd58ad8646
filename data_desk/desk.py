"""Files that are brought in: what each of them is, who speaks in it, and the dialogues that it becomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_desk import chat
from data_desk.dialogue import Choices, Dialogue, Tally
from data_desk.importers import table
from data_desk.privacy.stand_ins import StandIns
from data_desk.registry import Importer, recognise
from data_desk.sample import files_in, open_sample
from lora_trainer.errors import DataError


@dataclass(frozen=True)
class Found:
    """A file whose format is known."""

    path: Path
    importer: Importer
    encoding: str
    tally: Tally
    """Speakers and times of a chat log."""
    heads: tuple[str, ...] = ()
    """The names of a table's columns."""
    sheet: str = ""
    """Which one of a workbook's it is."""
    other_sheets: tuple[str, ...] = ()
    """Those that aren't read."""
    answers: str | None = None
    """Who can only be the character."""

    @property
    def is_chat(self) -> bool:
        """Whether somebody has to say who the character is."""
        return self.importer.messages is not None and self.answers is None

    @property
    def is_table(self) -> bool:
        """Whether columns have to be known."""
        return self.importer.own_dialogues is table.dialogues

    def missing_columns(self, choices: Choices) -> list[str]:
        """What a table needs a column for that isn't known."""
        if not self.is_table:
            return []
        known = table.columns_of(open_sample(self.path), choices.columns)
        return [part for part in table.NEEDED if part not in known]


@dataclass
class Gathered:
    """What the files have become."""

    dialogues: list[Dialogue] = field(default_factory=list)
    tallies: dict[Path, Tally] = field(default_factory=dict)
    rows: dict[Path, int] = field(default_factory=dict)
    private: Counter[str] = field(default_factory=Counter)
    """Kind of a private detail -> how often it was replaced."""

    @property
    def left(self) -> Counter[str]:
        """Why something was left out -> how often, of all files."""
        return sum((tally.left for tally in self.tallies.values()), Counter())


def look(paths: Iterable[Path], columns: Mapping[str, str] | None = None) -> tuple[list[Found], list[Path]]:
    """The files whose format is known, and those in folders whose isn't; `columns` as in Choices.

    Raises DataError for a file that was named itself and can't be read, or whose format isn't known.
    """
    found: list[Found] = []
    unknown: list[Path] = []
    seen: set[Path] = set()
    for path in paths:
        for file in files_in(path):
            if file.resolve() in seen:
                continue
            seen.add(file.resolve())
            try:
                found.append(_look_at(file, columns or {}))
            except DataError:
                if file == path:
                    raise
                unknown.append(file)
    if not found:
        raise DataError("error.import.nothing", files=", ".join(map(str, paths)))
    return found, unknown


def _look_at(path: Path, columns: Mapping[str, str]) -> Found:
    sample = open_sample(path)
    importer = recognise(sample)
    if importer is None:
        raise DataError("error.import.unknown", file=str(path))
    tally = Tally()
    if importer.messages is not None:
        for _ in chat.usable(importer.messages(sample), Choices(), tally):
            pass
    found = Found(path, importer, sample.encoding, tally, answers=importer.answers(sample))
    if not found.is_table:
        return found
    read = table.table_of(sample, columns)
    others = tuple(each.name for each in sample.tables if each is not read)
    return replace(found, heads=read.heads, sheet=read.name, other_sheets=others)


def speakers(found: Sequence[Found]) -> Counter[str]:
    """Who says how much in all chat logs of which somebody has to say who is the character."""
    return sum((each.tally.speakers for each in found if each.is_chat), Counter())


def gather(found: Sequence[Found], choices: Choices, stand_ins: StandIns | None) -> Gathered:
    """The dialogues of all files, with stand-ins for private details where there are any wanted. Raises DataError."""
    gathered = Gathered()
    for each in found:
        tally = gathered.tallies[each.path] = Tally()
        mine = _choices_for(each, choices)
        before = len(gathered.dialogues)
        for dialogue in each.importer.dialogues(open_sample(each.path), mine, tally):
            shown = stand_ins.in_dialogue(dialogue) if stand_ins is not None else dialogue
            if shown.is_usable:
                gathered.dialogues.append(shown)
            else:
                tally.left["unusable"] += 1
        gathered.rows[each.path] = len(gathered.dialogues) - before
        tally.left = +tally.left
    if stand_ins is not None:
        gathered.private = stand_ins.counts
    return gathered


def _choices_for(found: Found, choices: Choices) -> Choices:
    """Where it can only be one who answers, it is that one, whoever the character is called in other files."""
    if found.answers is None or choices.character in found.tally.speakers:
        return choices
    return replace(choices, character=found.answers)
