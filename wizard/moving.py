"""A run that goes to another machine, `--pack`, and one that comes from there, `--adopt`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lora_trainer.errors import BaseModelError, Cancelled, DecisionNeeded, UserError
from lora_trainer.events import Doing
from pipeline.request import Request
from pipeline.run.history import History, Run
from wizard import prompts
from wizard.commands import command
from wizard.prompts import Back, Wrong
from wizard.screen.screen import Screen
from wizard.screen.training import size
from wizard.steps.talk import Talk
from wizard.words import local_time, t


def pack(name: str, history: History, screen: Screen, request: Request) -> dict[str, Any]:
    """Write a run as a zip into the present folder: `--run`'s, else the one that `--register_only` would take."""
    from pipeline.run.adapters import mend_adapter
    from pipeline.run.published import connect
    from pipeline.run.rows import has_rows
    from pipeline.run.standing import run_to_register
    from pipeline.travel.packing import pack as write

    run = run_to_register(history, request, name, connect())
    mend_adapter(run, screen.listen, may_train=False)
    path = write(run, history, Path.cwd())
    if not has_rows(run.folder):
        screen.note("note.pack.no_rows", number=run.number)
    written = path.stat().st_size
    screen.done("note.packed", name=name, number=run.number, file=path, size=size(written))
    screen.text(t("note.pack.next", command=f"--adopt {path.name}"))
    return {"status": "done", "name": name, "run": run.number, "file": str(path), "size": written}


def adopt(request: Request, talk: Talk) -> tuple[Run, bool]:
    """The run that comes from elsewhere, now among those of this home, and whether it has only just come.

    Its name's lock is held from then on. Raises DataError for what is no run, DecisionNeeded where the name is taken
    and nobody has said that it is the one meant.
    """
    from pipeline.job import check_name
    from pipeline.outcome.judged import judge
    from pipeline.travel.adopting import adopt as take_in
    from pipeline.travel.archive import ROWS, opened
    from pipeline.travel.fitting import read_record

    assert request.adopt is not None
    screen, history = talk.screen, talk.history
    screen.listen(Doing("adopt"))
    with opened(request.adopt) as archive:
        record = read_record(archive)
        name = check_name(request.ollama_name or record["name"])
        talk.locks.enter_context(history.lock(name))
        before = [run.number for run in history.runs(name)]

        def base() -> dict[str, Any]:
            _require_decision(request, name, taken=bool(before) or _stands(request, name))
            return _base(request, record, talk)

        run = take_in(archive, record, name, history, base)
        screen.settle()
        is_new = run.number not in before
        if is_new:
            judge(run, history, None)
            screen.note("note.adopted", name=name, number=run.number, file=request.adopt.name)
            screen.note("note.adopt.base", source=run.record["base"]["source"])
            if not archive.has(ROWS):
                screen.note("note.adopt.no_rows", number=run.number)
        elif not run.is_over:
            screen.note("note.going_on", number=run.number, created=local_time(run.record["created"]))
        else:
            again = command("--ollama_name", name, "--register_only", "--run", str(run.number))
            screen.note("note.adopt.here", name=name, number=run.number, command=again)
        return run, is_new


def _stands(request: Request, name: str) -> bool:
    """Whether Ollama has the name, where it was to be asked and answers."""
    from pipeline.run.published import digests_in_ollama

    return not request.no_register and name in (digests_in_ollama() or {})


def _require_decision(request: Request, name: str, *, taken: bool) -> None:
    """A name that is taken has to be meant: said by a flag, or decided about when the model is there."""
    said = request.ollama_name is not None or request.yes
    if taken and not said and not (prompts.can_ask() and not request.no_register):
        raise DecisionNeeded("error.adopt.name_taken", name=name, flag="--ollama_name")


def _base(request: Request, record: dict[str, Any], talk: Talk) -> dict[str, Any]:
    """The base model as it is here: a flag's, else by the record, else asked where somebody can answer."""
    from pipeline.run.published import connect
    from pipeline.travel.base import base_here

    client, proven = connect(), bool((record.get("gguf") or {}).get("fingerprints"))
    talk.screen.listen(Doing("base_model"))

    def look(source: str | None) -> dict[str, Any]:
        return base_here(record["base"], source, client, talk.screen.listen, weights_are_proven=proven)

    try:
        return look(request.base_model)
    except BaseModelError as error:
        known = error.key in ("error.adopt.no_base", "error.base.changed")
        if not known or not prompts.can_ask() or request.yes:
            raise
        talk.screen.problem(error)
    found: dict[str, dict[str, Any]] = {}

    def wrong(line: str) -> Wrong | None:
        from pipeline.offers.typed import check_base

        if not line:
            return Wrong(t("ask.empty"))
        try:
            found[line] = look(check_base(line, client=client))
        except UserError as error:
            return Wrong.of(error)
        return None

    try:
        line = talk.text("adopted base", t("ask.adopt_base"), flag="--base_model", check=wrong)
    except Back:
        raise Cancelled("error.cancelled") from None
    return found[line]
