"""What is left to be decided when the user leaves a conversation: what was corrected, and what was tried out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lora_trainer.errors import Cancelled, UserError
from pipeline.chat import Tried, keep_for_later
from pipeline.partner import Partner
from pipeline.request import Request
from pipeline.run.history import History
from pipeline.run.run import Run
from pipeline.serving import SAMPLING
from wizard import prompts
from wizard.chat.commands import plain
from wizard.chat.lessons import Lessons
from wizard.chat.screen import ChatScreen
from wizard.chat.session import Session
from wizard.commands import command_of
from wizard.prompts import Back
from wizard.words import t


def leave(partner: Partner, session: Session, request: Request, history: History, screen: ChatScreen) -> Request | None:
    """The request that trains on with what was corrected, or publishes what was tried; None where neither is wanted.

    What was tried out of a run that isn't in Ollama is entered into its record.
    """
    run, tried = partner.run, session.tried
    if run is None:
        if tried:
            screen.note("chat.not_ours", what=_told(tried))
        return None
    if session.lessons is not None and _trains_on(session.lessons, screen):
        wanted = request.training_on(partner.name, run.number)
        goes_along = bool(tried) and _agrees("ask.chat.train_with", default=False, what=_told(tried))
        return _with(wanted, tried) if goes_along else wanted
    return _kept(partner, run, tried, request, history, screen) if tried else None


def _trains_on(lessons: Lessons, screen: ChatScreen) -> bool:
    """Whether the user wants to train on now; before that, what isn't written yet is."""
    while True:
        try:
            lessons.write()
            break
        except UserError as error:
            screen.problem(error)
        ways = [(way, t(f"menu.lessons.{way}")) for way in ("again", "leave")]
        try:
            if prompts.select(t("ask.chat.not_written", count=len(lessons.waiting)), ways, flag="--chat") == "again":
                continue
        except Back:
            continue
        except Cancelled:
            pass
        for lesson in lessons.waiting:  # nothing that was typed goes without having been seen
            screen.line(lesson.correction.answer)
        break
    corrected, kept = lessons.counts()
    return bool(corrected or kept) and _agrees("ask.chat.train_on", default=True, corrected=corrected, kept=kept)


def _kept(
    partner: Partner, run: Run, tried: Tried, request: Request, history: History, screen: ChatScreen
) -> Request | None:
    """The request that publishes what was tried out, where the user wants that; else None."""
    what = _told(tried)
    wanted = _with(request.answering(ollama_name=partner.name, register_only=True, run=run.number), tried)
    if run.is_published and not partner.stands:
        # what stands is another one: to change it is more than to keep a temperature
        screen.note("chat.not_standing", what=what, number=run.number, command=command_of(wanted))
        return None
    if tried.system is not None:
        screen.note("chat.system_warning")
    key = "ask.chat.publish" if partner.stands else "ask.chat.keep"
    if not _agrees(key, default=False, what=what, number=run.number):
        return None
    if partner.stands:
        screen.note("chat.publishing", command=command_of(wanted))
        return wanted
    with history.lock(partner.name):
        keep_for_later(next(one for one in history.runs(partner.name) if one.number == run.number), tried)
    screen.note("chat.kept", number=run.number)
    return None


def _agrees(question: str, *, default: bool, **values: Any) -> bool:
    """Yes or no; whoever presses Esc or Ctrl-C wants nothing more."""
    try:
        return prompts.confirm(t(question, **values), flag="--chat", default=default)
    except (Back, Cancelled):
        return False


def _told(tried: Tried) -> str:
    words = [f"{name} {plain(value)}" for name, value in tried.parameters.items()]
    if tried.system is not None:
        words.append(t("field.system"))
    return t("word.comma").join(words)


def _with(request: Request, tried: Tried) -> Request:
    """A request that serves what was tried out, and nothing else of the kind."""
    values: dict[str, Any] = {**dict.fromkeys(SAMPLING), **tried.parameters}
    return replace(request, **values, system=tried.system or None, no_system=tried.system == "")
