"""What is to become of the model that is there, and of a training that isn't finished?"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lora_trainer.errors import Cancelled, UsageError
from pipeline.job import Dataset, read_data
from pipeline.request import Request
from pipeline.run.history import Run
from pipeline.run.kept import take_over
from pipeline.run.overview import percent_kept
from pipeline.run.run import left_over
from pipeline.run.standing import Pending, Standing, look, run_to_continue, run_to_go_on, unfinished
from wizard.prompts import Row, in_columns
from wizard.steps.draft import Draft
from wizard.steps.talk import Talk
from wizard.words import local_time, t

CHOICES = ("continue", "overwrite", "skip", "cancel")
EMOJI = {"continue": "🔄", "overwrite": "🗑️ ", "skip": "⏭️ ", "cancel": "❌"}


@dataclass(frozen=True)
class _Unfinished:
    """A training that stopped before its end or waits to be decided about, and whether it can be gone on with."""

    run: Run
    pending: Pending


def go_on(draft: Draft, talk: Talk) -> Draft:
    """Where the same was asked for before and isn't finished: that run, without a question where nobody is asked."""
    if draft.is_asked and not draft.request.resume:
        return draft
    pending = _pending(draft, talk, draft.request)
    return draft if pending is None else replace(draft, pending=pending, is_complete=True)


def _pending(draft: Draft, talk: Talk, request: Request) -> Pending | None:
    """The unfinished run that `request` goes on with; raises what `run_to_go_on` and `read_data` do."""

    def read(run: Run) -> Dataset:
        taken = take_over(draft.request, run, continues=bool(run.record["data"].get("corrections")))
        return read_data(taken, talk.history, draft.name, going_on=run)

    return run_to_go_on(talk.history, request, draft.name, read, talk.screen.listen)


def choose(draft: Draft, talk: Talk) -> Draft:
    """new, continue, overwrite or skip, or the run that is unfinished, waits or was declined.

    Raises UsageError, DecisionNeeded, Cancelled and Back.
    """
    request, name, client = draft.request, draft.name, draft.client
    if client is not None and not request.dry_run:
        from pipeline.run.published import wake

        wake(client, talk.screen.listen)
    stands = look(talk.history, name, client)
    if client is not None and stands.in_ollama is None:
        if stands.run is None and request.wants_continuation:
            client.version()  # raises what keeps it from being asked
        talk.screen.note("note.ollama_unknown", name=name, host=client.host)
    if request.from_run is not None:
        stands = Standing(stands.in_ollama, run_to_continue(talk.history, request, name))
    draft = replace(draft, stands=stands)
    left = _left(draft, talk)
    if not stands.in_ollama and stands.run is None:
        return _choose_for_new(draft, talk, left)
    choice = request.exists_choice if left is None or request.restart else None
    if choice is None:
        choice = _ask(draft, left, talk)
        if choice == "go on":
            assert left is not None
            return replace(draft.answer(resume=True), pending=left.pending, is_complete=True)
        if choice == "declined":
            return _publish_declined(draft, talk)
        draft = draft.answer(on_exists=choice, restart=left is not None)
    if choice == "cancel":
        raise Cancelled("error.cancelled")
    if request.warm_start and stands.run is None:
        raise UsageError("error.warm_start.no_record", name=name)
    if choice == "skip":
        return replace(draft, choice=choice, is_complete=True)
    if choice == "continue" and stands.run is not None and stands.run.taught_point is not None:
        talk.screen.note("note.continues_point", number=stands.run.number, epochs=stands.run.taught_point["epochs"])
    shown = client.show(name) if client and stands.made_elsewhere and choice == "continue" else None
    return replace(draft, choice=choice, shown=shown)


def _left(draft: Draft, talk: Talk) -> _Unfinished | None:
    """The unfinished run of this name, where flags don't ask for another training and its dialogues are the same."""
    request, name = draft.request, draft.name
    if not draft.is_asked or request.dry_run:
        return None
    newest = left_over(reversed(talk.history.runs(name)))
    asked_for = unfinished(talk.history, request, name)
    if newest is None or request.restart:
        return None
    if asked_for is None and request.trained_otherwise():
        return None
    # what waits is trained, whatever has become of its dialogues
    alike = request if asked_for and not newest.is_waiting else replace(request, resume=True)
    try:
        pending = _pending(draft, talk, alike)
    except UsageError as error:
        if error.key != "error.data_changed":
            raise
        talk.screen.note("note.data_changed")
        return None
    return None if pending is None else _Unfinished(newest, pending)


def _declined(draft: Draft, talk: Talk) -> Run | None:
    """The newest run of this name, where it was declined and is not all that flags ask for."""
    request = draft.request
    newest = talk.history.newest(draft.name)
    asks_otherwise = request.restart or request.no_register or request.dry_run or request.trained_otherwise()
    if newest is None or not newest.is_declined or not draft.is_asked or asks_otherwise:
        return None
    return newest


def _publish_declined(draft: Draft, talk: Talk) -> Draft:
    run = _declined(draft, talk)
    assert run is not None
    return replace(draft.answer(register_only=True, run=run.number), is_complete=True)


def _choose_for_new(draft: Draft, talk: Talk, left: _Unfinished | None) -> Draft:
    """There is no such model, but perhaps a training of it that isn't finished, waits or was declined."""
    request, name = draft.request, draft.name
    declined = _declined(draft, talk)
    if left is not None or declined is not None:
        words = {"anew": t("menu.unfinished.anew" if left else "menu.declined.anew")}
        if request.wants_continuation:
            words = {}
        if left is not None:
            words = {"go on": _go_on_title(left), **words}
        elif declined is not None:
            words["declined"] = t("menu.declined.publish", number=declined.number)
        words["cancel"] = t("menu.exists.cancel")
        message = t("ask.unfinished", name=name)
        if left is None:
            message = t("ask.declined", name=name)
        elif left.run.is_waiting:
            message = t("ask.waiting", name=name)
        choice = talk.select("unfinished", message, list(words.items()), flag="--resume")
        if choice == "cancel":
            raise Cancelled("error.cancelled")
        if choice == "go on":
            assert left is not None
            return replace(draft.answer(resume=True), pending=left.pending, is_complete=True)
        if choice == "declined":
            return _publish_declined(draft, talk)
        draft = draft.answer(restart=left is not None)
    if request.wants_continuation:
        unasked = request.no_register
        raise UsageError("error.nothing_to_continue_unasked" if unasked else "error.nothing_to_continue", name=name)
    return replace(draft, choice="new")


def _ask(draft: Draft, left: _Unfinished | None, talk: Talk) -> str:
    """The four choices, behind the unfinished run where there is one."""
    stands, name = draft.stands, draft.name
    trained = "ask.exists_trained" if stands.in_ollama is None else "ask.exists_unregistered"
    message = t("ask.exists" if stands.in_ollama else trained, name=name) + _facts(draft)
    columns = [
        (f"{EMOJI[choice]} {t(f'menu.exists.{choice}')}", t(f"menu.exists.{choice}.about")) for choice in CHOICES
    ]
    rows = in_columns(CHOICES, columns)
    if left is not None:
        rows.insert(0, Row("go on", _go_on_title(left), key="0"))
    elif (declined := _declined(draft, talk)) is not None:
        rows.append(Row("declined", t("menu.declined.publish", number=declined.number)))
    return str(talk.select("exists", message, rows, flag="--on_exists"))


def _facts(draft: Draft) -> str:
    run = draft.stands.run
    if run is None:
        return t("ask.exists_elsewhere") if draft.stands.made_elsewhere else ""
    losses = run.record.get("training", {}).get("val_losses") or []
    values = {"number": run.number, "epochs": run.taught.epochs, "date": local_time(run.record["created"])}
    if losses and run.taught_point is None:
        return t("ask.exists_record_loss", loss=f"{losses[-1][1]:.2f}", **values)
    return t("ask.exists_record", **values)


def _go_on_title(left: _Unfinished) -> str:
    if left.run.is_waiting:
        return t("menu.waiting.go_on", number=left.run.number)
    return t("menu.unfinished.go_on", number=left.run.number, percent=percent_kept(left.run))
