"""`--import`: files become rows. A terminal asks who the character is, and shows dialogues before any is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lora_trainer.errors import Cancelled, DataError, DecisionNeeded
from lora_trainer.events import Doing
from pipeline import imports
from pipeline.imports import Found, Gathered
from pipeline.request import Request
from wizard import prompts
from wizard.importing import questions
from wizard.importing.lines import counted, how, names_of, shown, taken_for
from wizard.importing.questions import Choices
from wizard.prompts import Back
from wizard.screen.layout import folded
from wizard.screen.screen import Screen

_SHOWN = 3
"""Dialogues that are shown at a time."""


@dataclass(frozen=True)
class _Draft:
    """What is decided so far."""

    choices: Choices
    folder: Path | None
    gathered: Gathered | None = None


class Left(Exception):
    """The user doesn't want the import any more."""


def bring_in(request: Request, screen: Screen) -> dict[str, Any]:
    """Read the files that are named, and add their dialogues to a folder's train.jsonl; nothing is trained.

    Raises DataError for what can't be read, DecisionNeeded where nobody can say what isn't clear, and Cancelled.
    """
    try:
        return converse(request, screen)
    except Left:
        raise Cancelled("error.cancelled") from None


def converse(request: Request, screen: Screen) -> dict[str, Any]:
    """The same within another conversation: raises Left where the user goes back to that."""
    assert request.import_ is not None
    choices, folder = imports.choices_of(request), imports.place_of(request)
    screen.note("note.import.consent")
    screen.listen(Doing("import"))
    found, unknown = imports.look(request.import_, choices.columns)
    screen.settle()
    for each in found:
        screen.lines(folded(f"  {taken_for(each)}", screen.width))
    if unknown:
        screen.note("note.import.unknown", count=len(unknown), files=names_of(unknown))
    desk = _Desk(request, screen, found, asks=prompts.can_ask() and not request.yes)
    decided = desk.decide(_Draft(choices, folder))
    assert decided.gathered is not None and decided.folder is not None
    written = imports.add(decided.gathered.dialogues, decided.folder)
    screen.done("note.import.done", added=written.added, file=written.file, count=written.before + written.added)
    if written.known:
        screen.note("note.import.known", count=written.known)
    if written.backup is not None:
        screen.note("note.import.backup", file=written.backup)
    return imports.told(found, unknown, decided.gathered, written)


class _Desk:
    """The decisions one after the other; Esc goes back to the one before."""

    def __init__(self, request: Request, screen: Screen, found: Sequence[Found], *, asks: bool) -> None:
        self._request, self._screen, self._found, self._asks = request, screen, found, asks

    def decide(self, draft: _Draft) -> _Draft:
        """Everything that has to be known before rows are written. Raises DecisionNeeded, Left and Cancelled."""
        steps: list[Callable[[_Draft], _Draft]] = [self._columns, self._character, self._place, self._rows]
        asked: list[tuple[int, _Draft]] = []
        at = 0
        while at < len(steps):
            before = prompts.asked()
            try:
                decided = steps[at](draft)
            except Back:
                if not asked:
                    raise Left from None
                at, draft = asked.pop()
                continue
            if prompts.asked() > before:
                asked.append((at, draft))
            at, draft = at + 1, decided
        return draft

    def _columns(self, draft: _Draft) -> _Draft:
        choices = draft.choices
        imports.check_columns(self._found, choices)
        for each in self._found:
            for part in each.missing_columns(choices):
                if not self._asks:
                    heads = ", ".join(each.heads)
                    raise DecisionNeeded(
                        "error.import.columns", flag="--columns", file=each.path.name, missing=part, heads=heads
                    )
                head = questions.which_column(part, each.heads)
                choices = replace(choices, columns={**choices.columns, part: head})
        return replace(draft, choices=choices)

    def _character(self, draft: _Draft) -> _Draft:
        said = draft.choices.character
        if said is not None:
            imports.check_character(self._found, said)
            return draft
        if not any(each.is_chat for each in self._found):
            return draft
        if not self._asks:
            told = imports.told_speakers(self._found)
            raise DecisionNeeded("error.import.character", flag="--character", speakers=told)
        name = questions.who_is_the_character(self._found)
        return replace(draft, choices=replace(draft.choices, character=name))

    def _place(self, draft: _Draft) -> _Draft:
        folder = draft.folder
        if folder is None:
            if not self._asks:
                raise DecisionNeeded("error.import.place", flag="--data_dir", other="--ollama_name")
            folder = questions.which_folder()
        imports.check_place(folder)
        return replace(draft, folder=folder)

    def _rows(self, draft: _Draft) -> _Draft:
        """Read everything, and on a terminal show some of it until it pleases."""
        while True:
            if self._asks:
                private = self._request.keep_private
                self._tell(how(self._found, draft.choices.pause, keeps_private=private))
            self._screen.listen(Doing("import"))
            gathered = imports.read(self._found, draft.choices, self._request)
            self._screen.settle()
            self._tell(counted(gathered))
            if without := [each.path for each in self._found if not gathered.rows[each.path]]:
                self._screen.note("note.import.no_rows", files=names_of(without))
            if not gathered.dialogues and not self._asks:
                raise DataError("error.import.no_dialogues", files=names_of([each.path for each in self._found]))
            draft = replace(draft, gathered=gathered)
            if not self._asks:
                return draft
            pause = self._pleases(draft, gathered)
            if pause is None:
                return draft
            draft = replace(draft, choices=replace(draft.choices, pause=pause))

    def _pleases(self, draft: _Draft, gathered: Gathered) -> float | None:
        """None to write it; another pause to cut the chats by. Raises Back."""
        assert draft.folder is not None
        at = self._show(gathered, 0)
        while True:
            can_be_cut = any(each.importer.messages is not None for each in self._found)
            chosen = questions.what_now(
                draft.folder, len(gathered.dialogues), has_more=at < len(gathered.dialogues), can_be_cut=can_be_cut
            )
            if chosen == "leave":
                raise Left
            if chosen == "write":
                return None
            if chosen == "more":
                at = self._show(gathered, at)
                continue
            try:
                return questions.how_long_a_pause(draft.choices.pause)
            except Back:
                continue

    def _tell(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._screen.lines(folded(f"  {line}", self._screen.width))

    def _show(self, gathered: Gathered, at: int) -> int:
        for number, dialogue in enumerate(gathered.dialogues[at : at + _SHOWN], at + 1):
            self._screen.lines(shown(dialogue, number, self._screen.width))
        return min(at + _SHOWN, len(gathered.dialogues))
