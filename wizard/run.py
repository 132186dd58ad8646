"""One run from the request to the summary: asks what is missing, then lets the pipeline work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.request import Request
from pipeline.run import processes
from pipeline.run.history import History
from wizard.steps.draft import Draft
from wizard.steps.order import decide
from wizard.steps.price import Prices
from wizard.steps.talk import Talk

if TYPE_CHECKING:
    from wizard.screen.screen import Screen

Stop = Callable[[], bool]


def run(request: Request, screen: Screen, stop: Stop) -> dict[str, Any]:
    """Do what was asked for and return what `--json` tells of it; raises UserError."""
    if not processes.is_first():
        processes.follow(stop)
        return {}
    with processes.leading():
        return _run(request, screen, stop)


def _run(request: Request, screen: Screen, stop: Stop) -> dict[str, Any]:
    """Each way is loaded when it is taken: the first question, and what asks nothing, are to come at once."""
    history = History()
    if request.history:
        from wizard.history.listing import show_history

        return show_history(history, screen, request, stop)
    if request.only_notes:
        from wizard.history.listing import write_note

        return write_note(history, screen, request)
    if request.chat:
        from wizard.chat.conversation import talk as chat

        left = chat(request, history, screen)
        if not isinstance(left, Request):
            return left
        request = left
    if request.clean:
        from wizard.cleaning.desk import clean

        return clean(request, history, screen)
    if request.data_desk:
        from wizard.data_desk.desk import sit_down

        return sit_down(request, history, screen)
    if request.import_ is not None:
        from wizard.importing.desk import bring_in

        return bring_in(request, screen)
    if request.mend:
        from wizard.mending.desk import mend

        return mend(request, history, screen)
    with ExitStack() as locks:
        talk = Talk(screen, history, Prices(history), locks)
        if request.adopt is not None:
            from wizard.work import adopt

            return adopt(request, talk, stop)
        draft = Draft(request)
        if request.is_about_a_run:
            told = _look_up(draft, talk)
            if not isinstance(told, Draft):
                return told
            draft = told
        else:
            draft = decide(draft, talk)
        from wizard.work import do

        return do(draft, talk, stop)


def _look_up(draft: Draft, talk: Talk) -> dict[str, Any] | Draft:
    """What is told of a model that is there; a draft where something is left to be done."""
    from wizard import lookups
    from wizard.steps import name

    draft = name.tell_broken(name.choose_name(draft, talk), talk)
    lookup = next((lookups.BY_FLAG[flag] for flag in lookups.BY_FLAG if getattr(draft.request, flag)), None)
    if lookup is None:
        return draft
    told = lookup(draft.name, talk.history, talk.screen, draft.request)
    if told is not None:
        return told
    return replace(draft, request=draft.request.answering(register_only=True))
