"""One run from the request to the summary: asks what is missing, then lets the pipeline work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora_trainer.events import StageStarted
from pipeline.job import Dataset, Job, check_name, going_on, library_versions, read_data
from pipeline.request import Request
from pipeline.run import processes
from pipeline.run.base_model import look_for, recorded_base, shown_by_ollama, why_not_there
from pipeline.run.beginnings import first_adapter, updated_libraries
from pipeline.run.history import History, Run
from pipeline.run.kept import TakenOver, take_over
from pipeline.run.rows import Change, change_since
from pipeline.run.standing import Standing, look, run_to_go_on, run_to_register
from pipeline.strategies import changed_numbers
from wizard import flow, lookups
from wizard.questions import Existing
from wizard.screen.screen import Screen
from wizard.screen.tables import Review, Summary, served_rows
from wizard.words import local_time

Stop = Callable[[], bool]


def run(request: Request, screen: Screen, stop: Stop) -> dict[str, Any]:
    """Do what was asked for and return what `--json` tells of it; raises UserError."""
    if not processes.is_first():
        processes.follow(stop)
        return {}
    with processes.leading():
        return _run(request, screen, stop)


def _run(request: Request, screen: Screen, stop: Stop) -> dict[str, Any]:
    history = History()
    if request.history:
        return lookups.show_history(history, screen, request.ollama_name)
    name = flow.decide_name(request, screen, history.names(), check_name)
    lookups.tell_broken([run for run in history.broken(name) if run.schema is None], screen)
    lookup = next((lookups.BY_FLAG[flag] for flag in lookups.BY_FLAG if getattr(request, flag)), None)
    with nullcontext() if request.dry_run else history.lock(name):
        if lookup is not None:
            told = lookup(name, history, screen, request)
            if told is not None:
                return told
            request = replace(request, rollback=False, register_only=True)
        return _train(request, name, history, screen, stop)


def _train(request: Request, name: str, history: History, screen: Screen, stop: Stop) -> dict[str, Any]:
    from pipeline.run.published import connect, wake

    client = None if request.no_register else connect()
    if request.register_only:
        run = run_to_register(history, request, name, client)
        return _work(going_on(run, request, history, client), screen, stop)
    pending = run_to_go_on(
        history, request, name, lambda run: _data(take_over(request, run), history, name, screen), screen.listen
    )
    if pending is not None:
        run = pending.run
        screen.note("note.going_on", number=run.number, created=local_time(run.record["created"]))
        return _work(going_on(run, request, history, client, pending.data), screen, stop)

    if client is not None and not request.dry_run:
        wake(client, screen.listen)
    stands = look(history, name, client)
    record = stands.run
    if client is not None and stands.in_ollama is None:
        if record is None and request.wants_continuation:
            client.version()  # raises what keeps it from being asked
        screen.note("note.ollama_unknown", name=name, host=client.host)
    choice = flow.decide_existing(request, name, _existing(stands, history, name))
    if choice == "skip":
        screen.note("note.skipped", name=name)
        return {"status": "skipped", "name": name}
    shown = client.show(name) if client and stands.made_elsewhere and choice == "continue" else None
    asked = flow.decide_data(request, screen, name) if choice == "new" else request
    taken = take_over(asked, record, shown)
    data = _data(taken, history, name, screen)
    change = _tell_data(taken, record, data, screen)
    base = flow.decide_base(
        request,
        screen,
        record.record["base"]["source"] if record else None,
        name if choice == "continue" and stands.in_ollama else None,
    )
    recorded = recorded_base(record, request, base, overwrite=choice == "overwrite")
    gone = why_not_there(recorded, client, screen.listen) if recorded and choice == "continue" else None
    if gone is not None and stands.in_ollama:
        base, recorded = flow.decide_new_base(request, screen, name, gone), None
    if record is None and shown is None and (of_base := shown_by_ollama(base, client)):
        taken = replace(taken, serving=taken.serving.on(of_base))
    new_base = gone is not None and recorded is None
    on_itself = new_base and base == f"ollama:{name}"
    if taken.lost:
        screen.note("note.made_elsewhere.lost", name=name, what=", ".join(taken.lost))

    def review(decision: flow.Decision) -> Review:
        return Review(
            name=name,
            base_model=base,
            choice=choice,
            strategy=decision.strategy,
            plan=decision.plan,
            record=record.plan if record and choice == "continue" else None,
            dialogues=len(data.train),
            val_dialogues=len(data.val),
            steps=decision.plan.total_steps(len(data.train)),
            system=data.system,
            files=tuple(data.files),
            serving=served_rows(taken.serving, data.system, taken.sources),
            data_source=taken.sources["data"],
            first_adapter=first_adapter(request, decision.strategy, decision.plan, record, new_base=new_base),
            on_itself=on_itself,
            updated=updated_libraries(record, decision.plan, library_versions()) if goes_on else (),
        )

    continued = record.plan if record and choice == "continue" else None
    goes_on = continued is not None and not (new_base or request.from_scratch or request.warm_start)
    decision = flow.decide_plan(request, screen, choice, continued, len(data.train), review, on_itself=on_itself)
    if request.dry_run:
        look_for(base, recorded, client, screen.listen)
        screen.note("note.dry_run")
        return {"status": "dry_run", "name": name, "base_model": base, "plan": decision.plan.to_json()}
    return _work(
        Job(
            request=decision.request,
            name=name,
            plan=decision.plan,
            dataset=data,
            base_source=base,
            recorded_base=recorded,
            new_base=new_base,
            strategy=decision.strategy,
            overwrite=choice == "overwrite",
            previous=record,
            history=history,
            client=client,
            serving=taken.serving,
            taken=taken,
            change=change,
        ),
        screen,
        stop,
    )


def _work(job: Job, screen: Screen, stop: Stop) -> dict[str, Any]:
    from pipeline.checks.preflight import check
    from pipeline.publishing import gguf_path
    from pipeline.run.ladder import best_rung, climb, settle
    from pipeline.stages import run_stages

    screen.listen(StageStarted("preflight"))
    prepared = check(job, screen.listen)
    if prepared is not None:
        job = replace(job, serving=prepared.serving)
    if job.request.ladder and prepared is not None:
        runs = climb(job, job.request.rungs, prepared, screen.listen, stop)
        best = best_rung(runs)
        screen.note("note.best_rung", number=best.number, epochs=best.plan.epochs)
        run = run_stages(replace(job, plan=best.plan, run=best), prepared, screen.listen, stop)
        settle(runs)
    else:
        run = run_stages(job, prepared, screen.listen, stop)
    record, gguf = run.record, gguf_path(run)
    before = job.previous.plan if job.previous else None
    screen.summary(
        Summary(
            name=job.name,
            registered=job.client is not None,
            seconds=sum(stage["seconds"] for stage in record["stages"].values()),
            losses=record["training"]["losses"],
            val_losses=record["training"]["val_losses"],
            folder=run.folder,
            modelfile=run.folder / "Modelfile",
            gguf=gguf if gguf.exists() else None,
            backup=record.get("ollama", {}).get("backup"),
            changes=[(n, getattr(before, n), getattr(run.plan, n)) for n in changed_numbers(run.plan, before)]
            if before
            else (),
        )
    )
    return lookups.outcome(run)


def _data(taken: TakenOver, history: History, name: str, screen: Screen) -> Dataset:
    data = read_data(taken, history, name)
    screen.findings(data.findings)
    return data


def _tell_data(taken: TakenOver, record: Run | None, data: Dataset, screen: Screen) -> Change | None:
    """Say, before the work, what the model is taught this time and how that differs from what it was taught."""
    now = next(iter(data.files))
    if taken.other_data is not None and Path(now).resolve() != Path(taken.other_data).resolve():
        screen.note("note.data.other", now=now, before=taken.other_data)
    if record is None or record.record["data"]["fingerprint"] == data.fingerprint:
        return None
    change = change_since(record, data)
    if change is None:
        screen.note("note.data.changed_unknown", number=record.number)
    else:
        screen.note("note.data.changed", number=record.number, new=change.new, gone=change.gone)
    return change


def _existing(stands: Standing, history: History, name: str) -> Existing | None:
    record = stands.run
    if not stands.in_ollama and record is None:
        return None
    done = [run for run in history.runs(name) if run.is_done]
    return Existing(
        in_ollama=stands.in_ollama,
        runs=len(done),
        epochs=record.plan.epochs if record else None,
        date=local_time(record.record["created"])[:10] if record else None,
    )
