"""A model drafts rows: each is looked at, and taken, edited or thrown away. What isn't taken is written nowhere."""

from __future__ import annotations

import secrets
from dataclasses import replace

from lora_trainer.errors import UserError
from lora_trainer.events import Doing
from pipeline.desk.changes import DRAFTED, Backups, add_dialogue, check
from pipeline.desk.drafting.drafters import Drafter, find_drafters, named, talking
from pipeline.desk.drafting.drafting import Draft, Drafting
from pipeline.desk.files import Opened
from pipeline.request import Request
from pipeline.run.corrections import clean
from pipeline.run.history import History
from wizard import prompts
from wizard.data_desk.writing import tell_backup, told_or_raised
from wizard.history.lines import labelled
from wizard.importing.lines import plain
from wizard.prompts import Back, Row, in_columns
from wizard.screen.screen import Screen
from wizard.screen.training import size
from wizard.stop import ending_only_what_goes_on
from wizard.words import t


def draft_some(opened: Opened, request: Request, history: History, backups: Backups, screen: Screen) -> None:
    """Ask who drafts, then draft until the user leaves.

    Ctrl-C ends the draft that is being written. Raises Back, Cancelled, DataError where no row can be added to the
    file, and UserErrors where nobody can draft.
    """
    check(opened.files.train)
    with ending_only_what_goes_on():
        try:
            drafters, client = find_drafters(history, screen.listen)
            drafter = _choose(drafters) if request.draft_by is None else named(drafters, request.draft_by)
            with talking(drafter, client, screen.listen) as talker:
                drafting = Drafting(talker, opened, secrets.randbelow(1 << 31))
                _Sitting(drafter, drafting, opened, backups, screen).stay()
        except KeyboardInterrupt:  # while a model is looked for, or its file is written
            screen.settle()
            screen.note("draft.stopped")


def _choose(drafters: list[Drafter]) -> Drafter:
    columns = [(drafter.title, drafter.parameters, _remark(drafter)) for drafter in drafters]
    chosen = prompts.select(t("ask.draft.by"), in_columns(drafters, columns), flag="--draft_by")
    assert isinstance(chosen, Drafter)
    return chosen


def _remark(drafter: Drafter) -> str:
    if drafter.run is None:
        return t("draft.remote") if drafter.is_remote else ""
    return t("draft.base_written", size=size(round(drafter.written))) if drafter.written else t("draft.base")


class _Sitting:
    """Drafts, one after the other."""

    def __init__(self, drafter: Drafter, drafting: Drafting, opened: Opened, backups: Backups, screen: Screen) -> None:
        self._drafter, self._drafting, self._opened = drafter, drafting, opened
        self._backups, self._screen = backups, screen
        self._rows = opened.statistics.rows

    def stay(self) -> None:
        """Until the user leaves. Raises Back where that is by Esc, and Cancelled."""
        while True:
            draft = self._next()
            goes_on = self._decide(draft) if draft is not None else self._tries_again()
            if not goes_on:
                return

    def _next(self) -> Draft | None:
        """The next draft; None where the user, or something that was told, has kept it from being made."""
        self._screen.listen(Doing("draft"))
        try:
            draft = self._drafting.next()
        except KeyboardInterrupt:
            self._screen.settle()
            self._screen.note("draft.stopped")
            return None
        except UserError as error:
            told_or_raised(error, self._screen)
            return None
        self._screen.settle()
        return draft

    def _tries_again(self) -> bool:
        rows = [Row(True, t("menu.draft.again")), Row(False, t("menu.draft.leave"))]
        return bool(prompts.select(t("ask.draft.more"), rows, flag="--draft_by"))

    def _decide(self, draft: Draft) -> bool:
        """Show a draft and do with it what the user says; whether another one is wanted. Raises Back."""
        choices = ("take", "line", "answer", "another", "leave")
        while True:
            self._show(draft)
            rows = [Row(choice, t(f"menu.draft.{choice}")) for choice in choices]
            chosen = prompts.select(t("ask.draft"), rows, flag="--draft_by")
            if chosen == "line":
                draft = replace(draft, line=self._edited("user", draft.line))
            elif chosen == "answer":
                draft = replace(draft, answer=self._edited("assistant", draft.answer))
            elif chosen != "take" or self._take(draft):
                return bool(chosen != "leave")

    def _show(self, draft: Draft) -> None:
        screen, number, name = self._screen, self._rows + 1, self._drafter.title
        if draft.situation is None:
            head = t("draft.head", number=number, name=name)
        else:
            situation = t(f"desk.situation.{draft.situation}")
            head = t("draft.head_for", number=number, name=name, situation=situation)
        said = [("user", draft.line), ("assistant", draft.answer)]
        told = [(t(f"desk.write.{role}"), "\n".join(map(plain, text.split("\n")))) for role, text in said]
        screen.lines(["", ("✍️ " if screen.has_signs else "") + head, *labelled(told, screen.width)])

    def _edited(self, role: str, text: str) -> str:
        """What the user makes of a text; itself where it is to stay."""
        self._screen.note("chat.fix.here" if prompts.can_draw() else "draft.anew")
        try:
            changed = clean(prompts.Lines("").edit(f"{t(f'desk.write.{role}')}> ", text))
        except (Back, EOFError, KeyboardInterrupt):
            return text
        return changed or text

    def _take(self, draft: Draft) -> bool:
        """Write a draft; whether that could be done."""
        try:
            backup = add_dialogue(self._opened, draft.messages, self._backups, source=DRAFTED)
        except UserError as error:
            told_or_raised(error, self._screen)
            return False
        self._rows += 1
        self._drafting.know(draft)
        self._screen.done("note.desk.written", file=self._opened.files.train, count=self._rows)
        tell_backup(backup, self._screen)
        return True
