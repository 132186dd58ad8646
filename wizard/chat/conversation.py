"""`--chat`: from the name to the last word, and what of it is to hold from now on."""

from __future__ import annotations

import sys
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from lora_trainer.errors import Cancelled, DecisionNeeded, UsageError, UserError
from pipeline.machine import Glance, model_names
from pipeline.partner import Partner, file_size, find_partner, talker_of
from pipeline.request import Request
from pipeline.run.history import History
from pipeline.serving import SAMPLING
from wizard import prompts
from wizard.chat.commands import Leave, command_in, obey
from wizard.chat.leaving import leave
from wizard.chat.lessons import Lessons
from wizard.chat.screen import ChatScreen
from wizard.chat.session import Session
from wizard.prompts import Back
from wizard.screen.layout import cut
from wizard.screen.training import size
from wizard.stop import ending_only_what_goes_on
from wizard.words import t

if TYPE_CHECKING:
    from wizard.screen.screen import Screen

MARK = "> "


def talk(request: Request, history: History, screen: Screen) -> dict[str, Any] | Request:
    """Talk until the user leaves; what `--json` tells of it, or the request that trains on or publishes what was tried.

    Where nobody can answer, each line of the input is a question, and the answers alone go to stdout. Raises UserError.
    """
    asked = prompts.can_ask()
    shown = ChatScreen(terminal=asked, silent=request.json)
    try:
        return _talk(request, history, screen, shown)
    except UserError as error:
        if asked or request.json or request.debug:
            raise
        shown.problem(error)  # not among the answers
        return {"ok": False, "exit_code": error.exit_code}


def _talk(request: Request, history: History, screen: Screen, shown: ChatScreen) -> dict[str, Any] | Request:
    asked = shown.terminal
    listen = screen.listen if asked else shown.listen
    with ending_only_what_goes_on():
        name = request.ollama_name or _ask_name(history)
        partner, client = find_partner(history, name, request.run, listen)
        if partner.must_be_made:
            _agree_to_making(partner, request)
        talker = talker_of(partner, client, listen)
        screen.settle()
        with closing(talker):
            session = Session(talker)
            lines = prompts.Lines(MARK) if asked else None
            if partner.run is not None:
                session.lessons = Lessons(history, partner.run, partial(_edited, lines=lines, screen=shown))
            _begin_with(request, session)
            if lines is None:
                return {"status": "done", **_told(partner), "turns": _answer_lines(session, shown)}
            _introduce(partner, session, shown)
            _converse(session, shown, lines)
    return leave(partner, session, request, history, shown) or {"status": "done", **_told(partner)}


def _told(partner: Partner) -> dict[str, Any]:
    return {"name": partner.name, "run": partner.run.number if partner.run else None}


def _ask_name(history: History) -> str:
    names = model_names(history.names(), Glance().models() or ())
    prompts.require_terminal("--ollama_name")
    if not names:
        raise UsageError("error.chat.no_models")
    return str(prompts.select(t("home.which"), [(name, name) for name in names], flag="--ollama_name"))


def _agree_to_making(partner: Partner, request: Request) -> None:
    """Let the user say whether the run's file is to be made again. Raises UsageError and Cancelled."""
    assert partner.run is not None
    about = {"number": partner.run.number, "size": size(round(file_size(partner.run)))}
    if request.yes:
        return
    try:
        agreed = prompts.confirm(t("ask.chat.make", **about), flag="--yes", default=True)
    except DecisionNeeded:
        raise UsageError("error.chat.must_be_made", name=partner.name, **about) from None
    if not agreed:
        raise Cancelled("error.cancelled")


def _introduce(partner: Partner, session: Session, screen: ChatScreen) -> None:
    run = partner.run
    place = "chat.in_ollama" if partner.in_ollama else "chat.in_llama_cpp"
    which = t("chat.run", number=run.number, epochs=run.plan.epochs) if run else t("chat.no_run")
    screen.line(t(place, name=partner.in_ollama or partner.name, which=which))
    if session.system:
        screen.note("chat.system", system=cut(" ".join(session.system.split()), max(20, screen.width - 20)))
    screen.note("chat.begin")


def _begin_with(request: Request, session: Session) -> None:
    """Flags are tried out, as what is typed is."""
    if request.system is not None or request.no_system:
        session.try_system(request.system or "")
    for name in SAMPLING:
        if (value := getattr(request, name)) is not None:
            session.try_parameter(name, value)


def _edited(text: str, *, lines: prompts.Lines | None, screen: ChatScreen) -> str | None:
    """What the user makes of an answer: in the line, or typed anew where nothing can be changed in place."""
    if lines is None:
        return sys.stdin.readline()
    screen.note("chat.fix.here" if prompts.can_draw() else "chat.fix.anew")
    try:
        return lines.edit(t("chat.fix.mark"), text)
    except (Back, EOFError, KeyboardInterrupt):
        return None


def _converse(session: Session, screen: ChatScreen, lines: prompts.Lines) -> None:
    while True:
        try:
            text = lines.next().strip()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            if text:
                _heed(text, session, screen)
        except Leave:
            return
        except KeyboardInterrupt:  # just behind the end of an answer
            continue
        except UserError as error:
            screen.problem(error)


def _answer_lines(session: Session, screen: ChatScreen) -> list[dict[str, str]]:
    """Every line of the input as a question, without waiting; the conversation. Raises UserError at the first fault."""
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="replace")
    for line in sys.stdin:
        if not (text := line.strip()):
            continue
        try:
            _heed(text, session, screen)
        except Leave:
            break
    return session.turns


def _heed(text: str, session: Session, screen: ChatScreen) -> None:
    if found := command_in(text):
        obey(session, screen, *found)
        return
    screen.answering(lambda heard: session.ask(text, heard))
