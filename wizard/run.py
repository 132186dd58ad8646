"""One run from the request to the summary: asks what is missing, then lets the pipeline work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from lora_trainer.events import StageStarted
from pipeline.job import DEFAULT_QUANTIZE, Dataset, Job, check_name, going_on, read_data, register_again
from pipeline.request import Request
from pipeline.run import processes
from pipeline.run.base_model import look_for, recorded_base
from pipeline.run.beginnings import first_adapter
from pipeline.run.history import History, Run
from pipeline.run.standing import run_to_go_on, run_to_register, standing_run
from pipeline.strategies import changed_numbers
from wizard import flow, lookups
from wizard.questions import Existing
from wizard.screen.screen import Screen
from wizard.screen.tables import Review, Summary
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
    lookup = next((lookups.BY_FLAG[flag] for flag in lookups.BY_FLAG if getattr(request, flag)), None)
    with nullcontext() if request.dry_run else history.lock(name):
        if lookup is not None:
            return lookup(name, history, screen)
        return _train(request, name, history, screen, stop)


def _train(request: Request, name: str, history: History, screen: Screen, stop: Stop) -> dict[str, Any]:
    from pipeline.run.published import connect, is_in_ollama

    client = None if request.no_register else connect()
    if request.register_only:
        run = run_to_register(history, request, name)
        register_again(run, request)
        return _work(going_on(run, request, history, client), screen, stop)
    pending = run_to_go_on(history, request, name, lambda: _data(request, screen), screen.listen)
    if pending is not None:
        run = pending.run
        screen.note("note.going_on", number=run.number, created=local_time(run.record["created"]))
        return _work(going_on(run, request, history, client, pending.data), screen, stop)

    in_ollama = client is not None and is_in_ollama(client, name, screen.listen, start=not request.dry_run)
    record = standing_run(history, name)
    choice = flow.decide_existing(request, name, _existing(in_ollama, history, name, record))
    if choice == "skip":
        screen.note("note.skipped", name=name)
        return {"status": "skipped", "name": name}
    data = _data(request, screen)
    base = flow.decide_base(
        request,
        screen,
        record.record["base"]["source"] if record else None,
        name if choice == "continue" and in_ollama else None,
    )
    quantize = request.quantize or DEFAULT_QUANTIZE

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
            quantize=quantize,
            first_adapter=first_adapter(request, decision.strategy, decision.plan, record),
        )

    continued = record.plan if record and choice == "continue" else None
    decision = flow.decide_plan(request, screen, choice, continued, len(data.train), review)
    recorded = recorded_base(record, request, base, overwrite=choice == "overwrite")
    if request.dry_run:
        look_for(base, recorded, client, screen.listen)
        screen.note("note.dry_run")
        return {"status": "dry_run", "name": name, "base_model": base, "plan": decision.plan.to_json()}
    return _work(
        Job(
            request=request,
            name=name,
            plan=decision.plan,
            dataset=data,
            base_source=base,
            recorded_base=recorded,
            strategy=decision.strategy,
            overwrite=choice == "overwrite",
            previous=record,
            history=history,
            client=client,
        ),
        screen,
        stop,
    )


def _work(job: Job, screen: Screen, stop: Stop) -> dict[str, Any]:
    from pipeline.checks.preflight import check
    from pipeline.run.ladder import best_rung, climb, settle
    from pipeline.stages import gguf_path, run_stages

    screen.listen(StageStarted("preflight"))
    prepared = check(job, screen.listen)
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
            quantize=record["quantize"] if record["quantize"] != record["gguf"]["file_type"] else None,
            changes=[(n, getattr(before, n), getattr(run.plan, n)) for n in changed_numbers(run.plan, before)]
            if before
            else (),
        )
    )
    return lookups.outcome(run)


def _data(request: Request, screen: Screen) -> Dataset:
    data = read_data(request)
    screen.findings(data.findings)
    return data


def _existing(in_ollama: bool, history: History, name: str, record: Run | None) -> Existing | None:
    if not in_ollama and record is None:
        return None
    done = [run for run in history.runs(name) if run.is_done]
    return Existing(
        in_ollama=in_ollama,
        runs=len(done),
        epochs=record.plan.epochs if record else None,
        date=local_time(record.record["created"])[:10] if record else None,
    )
