"""The history at a terminal: look through the runs, at one of them, at two side by side; switch to one; write notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lora_trainer.errors import UserError
from pipeline.outcome.note import MOST, cleaned, is_too_long
from pipeline.request import Request
from pipeline.run.history import History
from pipeline.run.published import backups_with, runs_in_ollama
from wizard import prompts
from wizard.browse import browse
from wizard.commands import command_of
from wizard.history.details import details
from wizard.history.listed import Listed, look_at, signs_of
from wizard.history.side_by_side import side_by_side
from wizard.history.switch import switch
from wizard.history.table import moment_of, table
from wizard.prompts import Back, Wrong
from wizard.screen.browsing import Pressed
from wizard.screen.layout import flow, terminal_width, wrap
from wizard.screen.screen import Screen
from wizard.words import t

_KEYS = ("enter", "space", "u", "n")
_POINTER = 2
"""Cells before a row that can be pointed at."""


class Desk:
    """What the screens of the history share."""

    def __init__(self, history: History, screen: Screen, stop: Callable[[], bool]) -> None:
        self._history, self._screen, self._stop = history, screen, stop

    def stay(self, names: Sequence[str], number: int | None = None) -> None:
        """Until the user leaves; with a `number` that run's details are shown first. Raises Cancelled."""
        try:
            if len(names) == 1:
                self._runs_of(names[0], number)
                return
            while True:
                name = prompts.select(t("history.which"), [(each, each) for each in names], flag="--ollama_name")
                self._runs_of(name, None)
        except Back:
            return

    def _runs_of(self, name: str, number: int | None) -> None:
        listed = self._read(name)
        at = next((n for n, run in enumerate(listed.runs) if run.number == number), None)
        if at is not None:
            self._details(listed, at)
        at = len(listed.runs) - 1 if at is None else at
        chosen: list[int] = []
        said = ""
        while True:
            try:
                pressed = self._list(listed, at, chosen, said)
            except Back:
                return
            at, said = pressed.at, ""
            number = listed.runs[at].number
            if pressed.key == "enter":
                self._details(listed, at)
            elif pressed.key == "space":
                chosen = [one for one in chosen if one != number] if number in chosen else [*chosen, number]
                if len(chosen) == 2:
                    self._side_by_side(listed, chosen)
                    chosen = []
            elif pressed.key == "n":
                self._note(listed, at)
                listed = self._read(name)
            else:
                said = self._refused(listed, at) or self._switch(listed, at)
                listed = self._read(name)

    def _read(self, name: str) -> Listed:
        """The runs as they are by now, and which of them stands."""
        runs = self._history.runs(name)
        there = runs_in_ollama(self._history, {name: runs}) or {}
        return look_at(name, runs, there.get(name))

    def _list(self, listed: Listed, at: int, chosen: Sequence[int], said: str) -> Pressed:
        width = terminal_width()
        shown = table(listed.name, listed.pasts, width - _POINTER, signs_of(self._screen), chosen=chosen)
        title, names = shown.head[0], shown.head[1:]
        keys = flow([t(f"history.key.{key}") for key in (*_KEYS, "escape")], width, indent="", gap="   ")
        told = wrap(said, width) if said else []
        return browse(
            [title, *(" " * _POINTER + line for line in names)],
            shown.rows,
            [*(" " * _POINTER + line for line in shown.foot), *told, *keys],
            keys=_KEYS,
            at=at,
            numbers=[run.number for run in listed.runs],
        )

    def _details(self, listed: Listed, at: int) -> None:
        run, past = listed.runs[at], listed.pasts[at]
        backups = backups_with(listed.name, run)
        width = terminal_width()
        self._read_through(details(run, past, backups, width, signs_of(self._screen), self._screen.blocks), 2)

    def _side_by_side(self, listed: Listed, chosen: Sequence[int]) -> None:
        first, second = sorted(n for n, run in enumerate(listed.runs) if run.number in chosen)
        lines = side_by_side(
            (listed.runs[first], listed.runs[second]),
            (listed.pasts[first], listed.pasts[second]),
            listed.runs,
            terminal_width(),
            signs_of(self._screen),
            self._screen.blocks,
        )
        self._read_through(lines, 3)

    def _read_through(self, lines: Sequence[str], still: int) -> None:
        """Lines to be read, of which the first ones stay; any way on leads back."""
        try:
            browse(lines[:still], lines[still:], [t("history.read")], keys=("enter",), points=False)
        except Back:
            return

    def _note(self, listed: Listed, at: int) -> None:
        run = listed.runs[at]

        def wrong(line: str) -> Wrong | None:
            return Wrong(t("error.flag.note_long", most=MOST).partition("\n")[0]) if is_too_long(line) else None

        try:
            line = prompts.text(
                t("ask.run_note", number=run.number), flag="--note", default=listed.pasts[at].note, check=wrong
            )
            with self._history.lock(listed.name):
                # what another program has written meanwhile stays
                now = next(other for other in self._history.runs(listed.name) if other.number == run.number)
                now.update(note=cleaned(line))
        except Back:
            return
        except UserError as error:
            self._told(error)

    def _refused(self, listed: Listed, at: int) -> str:
        """Why a run can't be switched to; empty where it can."""
        run = listed.runs[at]
        if listed.pasts[at].stands:
            return t("history.stands_already", number=run.number)
        return "" if run.has_done("train") else t("history.not_trained", number=run.number)

    def _switch(self, listed: Listed, at: int) -> str:
        run, past = listed.runs[at], listed.pasts[at]
        present = next((other.number for other in listed.pasts if other.stands), None)
        values = {"name": listed.name, "number": run.number, "epochs": past.epochs, "date": moment_of(past.created)}
        message = t("ask.switch", **values)
        if present is not None:
            message += t("ask.switch.kept", number=present)
        rows = [(word, t(f"menu.switch.{word}")) for word in ("yes", "talk", "no")]
        try:
            while (chosen := prompts.select(message, rows, flag="--rollback")) == "talk":
                self._talk_to(listed.name, run.number)
            if chosen == "yes":
                switch(self._history, self._screen, listed.name, run.number, self._stop)
        except Back:
            return ""
        except UserError as error:
            self._told(error)
        return ""

    def _talk_to(self, name: str, number: int) -> None:
        """A conversation with what another run trained, before it is put in anybody's place."""
        from wizard.chat.conversation import talk

        try:
            left = talk(Request(ollama_name=name, chat=True, run=number), self._history, self._screen)
        except UserError as error:
            self._told(error)
            return
        if isinstance(left, Request):  # it has come to stand meanwhile
            self._screen.text(command_of(left))

    def _told(self, error: UserError) -> None:
        """What keeps something from being done; the list comes again. Raises Cancelled and an interruption."""
        if error.exit_code in (3, 130):
            raise error
        self._screen.problem(error)
