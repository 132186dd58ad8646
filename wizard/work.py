"""What was decided is done: checked, trained, compared, decided about and published, and summed up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lora_trainer.errors import Cancelled, ConversionError, DataError
from pipeline.job import Job, going_on
from pipeline.outcome.judged import best_of, judged_runs
from pipeline.outcome.points import choose_point, take_point
from pipeline.request import Request
from pipeline.run.base_model import look_for
from pipeline.run.history import Run
from pipeline.run.standing import run_to_register
from pipeline.strategies import changed_numbers
from wizard import lookups, outcome, prompts
from wizard.commands import command
from wizard.page.report import report_at_end
from wizard.prompts import Back
from wizard.screen.tables import Summary
from wizard.steps import decision
from wizard.steps.comparison import wants_comparison
from wizard.steps.draft import Draft
from wizard.steps.order import decide, decide_again
from wizard.steps.price import Prices
from wizard.steps.talk import Talk
from wizard.words import local_time

if TYPE_CHECKING:
    from pipeline.checks.checklist import Prepared
    from wizard.screen.screen import Screen

Stop = Callable[[], bool]


def do(draft: Draft, talk: Talk, stop: Stop) -> dict[str, Any]:
    """Do what was decided and return what `--json` tells of it; raises UserError."""
    request, history, screen, client = draft.request, talk.history, talk.screen, draft.client
    if request.register_only:
        from pipeline.run.published import connect

        client = client or connect()
        run = run_to_register(history, request, draft.name, client)
        choose_point(run, request.point)
        return _work(going_on(run, request, history, client), talk, stop)
    if draft.pending is not None:
        run = draft.pending.run
        if not run.is_waiting:
            screen.note("note.going_on", number=run.number, created=local_time(run.record["created"]))
        return _work(going_on(run, request, history, client, draft.pending.data), talk, stop)
    if draft.choice == "skip":
        screen.note("note.skipped", name=draft.name)
        return {"status": "skipped", "name": draft.name}
    assert draft.plan is not None
    if draft.taken is not None and draft.taken.lost:
        screen.note("note.made_elsewhere.lost", name=draft.name, what=", ".join(draft.taken.lost))
    if request.dry_run:
        from pipeline.checks.preflight import foresee

        here = draft.found or look_for(draft.base, draft.recorded, client, screen.listen)
        foresee(_job(draft, talk), here, screen.listen)
        screen.note("note.dry_run")
        return {"status": "dry_run", "name": draft.name, "base_model": draft.base, "plan": draft.plan.to_json()}
    while True:
        job = _job(draft, talk)
        try:
            return _work(job, talk, stop)
        except DataError as error:
            if error.key != "error.data.faults" or not draft.is_asked:
                raise
            draft = decide_again(draft, talk, job, error)


def adopt(request: Request, talk: Talk, stop: Stop) -> dict[str, Any]:
    """Take a run in that was made elsewhere, and bring it to its end; what doesn't prove to be it goes again.

    Raises UserError.
    """
    from pipeline.run.published import connect
    from pipeline.travel.adopting import give_up
    from wizard import moving

    run, is_new = moving.adopt(request, talk)
    if run.is_over and not is_new:
        return lookups.outcome(run)
    client = None if request.no_register else connect()
    try:
        return _work(going_on(run, request, talk.history, client), talk, stop)
    except ConversionError:
        if is_new and not run.has_done("prove"):
            give_up(run)
        raise


def _job(draft: Draft, talk: Talk) -> Job:
    assert draft.plan is not None and draft.taken is not None
    return Job(
        request=draft.request,
        name=draft.name,
        plan=draft.plan,
        dataset=draft.data,
        base_source=draft.base,
        recorded_base=draft.recorded,
        found_base=draft.found,
        new_base=draft.new_base,
        strategy=draft.strategy,
        overwrite=draft.choice == "overwrite",
        previous=draft.stands.run,
        history=talk.history,
        client=draft.client,
        serving=draft.taken.serving,
        taken=draft.taken,
        change=draft.change,
    )


def _work(job: Job, talk: Talk, stop: Stop) -> dict[str, Any]:
    from pipeline.checks.preflight import check
    from pipeline.run.ladder import best_rung, climb, settle
    from pipeline.stages import run_stages

    screen = talk.screen
    if job.request.samples is None and prompts.can_ask() and not job.request.yes:
        # somebody looks on
        job = replace(job, request=replace(job.request, samples=screen.questions_with_room))
    prepared = check(job, screen.listen)
    if prepared is not None:
        job = replace(job, serving=prepared.serving)
    rungs: list[Run] = []
    if job.request.ladder and prepared is not None:
        rungs = climb(job, job.request.rungs, prepared, screen.listen, stop)
        asked = decision.is_asked(job)
        # who looks at the answers is shown the longest that nothing speaks against; scripts take the number
        best = best_of(judged_runs(rungs)) if asked else best_rung(rungs)
        if not asked:
            key = "note.best_rung_unpublished" if job.request.no_register else "note.best_rung"
            screen.note(key, number=best.number, epochs=best.plan.epochs)
        job = replace(job, plan=best.plan, run=best)
    # whoever has begun to publish has decided
    decides = decision.is_asked(job) and not (job.run and job.run.record["publishing"])
    if decides:
        waits = job.run is not None and job.run.is_waiting
        run = run_stages(job, prepared, screen.listen, stop, until="prove", tells_done=not waits)
        settle([rung for rung in rungs if rung.number != run.number], status="declined")
        return _decided(replace(job, run=run), talk, stop)
    run = _to_its_end(job, prepared, screen, stop)
    settle(rungs)
    return _summed_up(job, run, screen)


def _to_its_end(job: Job, prepared: Prepared | None, screen: Screen, stop: Stop) -> Run:
    """All stages, with what came out where something was learnt; before the last one of them where it is compared."""
    from pipeline.stages import run_stages

    learns = prepared is not None
    if not (learns and wants_comparison(job.request, prompts.can_ask())):
        run = run_stages(job, prepared, screen.listen, stop)
        if learns:
            outcome.show_card(run, job.history, job.previous, screen, tell_next=True)
        return run
    run = run_stages(job, prepared, screen.listen, stop, until="prove")
    outcome.after_training(job, run, screen, stop, tell_next=True)
    return run_stages(replace(job, run=run), prepared, screen.listen, stop, tells_done=False)


def _decided(job: Job, talk: Talk, stop: Stop) -> dict[str, Any]:
    """Ask what is to become of a run that waits, and do that."""
    from pipeline.stages import decline, run_stages

    run, screen = job.run, talk.screen
    assert run is not None
    try:
        outcome.after_training(job, run, screen, stop)
    except Cancelled:
        raise decision.cancelled(job.name, run) from None
    report_at_end(job.history, run, screen.listen)
    keeps_gguf = job.request.keep_gguf
    while True:
        decided = decision.decide(job, run, talk, stop)
        if decided.choice != "train_on":
            break
        try:
            draft = _decide_to_train_on(job, run, talk)
        except Back:
            continue
        except Cancelled:
            raise decision.cancelled(job.name, run) from None
        if not draft.request.register_only:  # else it is only to be served otherwise
            decline(run, screen.listen, keeps_gguf=keeps_gguf)
        return do(draft, talk, stop)
    if decided.choice == "wait":
        screen.note("note.waits", name=job.name, number=run.number, command=decision.way_back(job.name))
        return lookups.outcome(run)
    if decided.note:
        decided.run.update(note=decided.note)
    if decided.choice == "decline":
        decline(run, screen.listen, keeps_gguf=keeps_gguf, keeps_points=decided.keeps_points)
        report_at_end(job.history, run, screen.listen)
        flags = ("--ollama_name", job.name, "--register_only", "--run", str(run.number))
        screen.note("note.declined", name=job.name, number=run.number, command=command(*flags))
        return lookups.outcome(run)
    take_point(decided.run, decided.point)
    chosen = replace(job, plan=decided.run.plan, run=decided.run)
    done = run_stages(chosen, None, screen.listen, stop, tells_done=False, keeps_points=decided.keeps_points)
    if done.number != run.number:
        decline(run, screen.listen)
    return _summed_up(chosen, done, screen)


def _decide_to_train_on(job: Job, run: Run, talk: Talk) -> Draft:
    """The questions of a training that goes on from a run that isn't published. Raises Back before the first one."""
    request = job.request.training_on(job.name, run.number)
    return decide(Draft(request), replace(talk, prices=Prices(talk.history), memory={}), leads_back=True)


def _summed_up(job: Job, run: Run, screen: Screen) -> dict[str, Any]:
    from pipeline.publishing import gguf_path

    record, gguf = run.record, gguf_path(run)
    before, now = job.previous.taught if job.previous else None, run.taught
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
            report=report_at_end(job.history, run, screen.listen),
            backup=record.get("ollama", {}).get("backup"),
            changes=[(n, getattr(before, n), getattr(now, n)) for n in changed_numbers(now, before)] if before else (),
        )
    )
    return lookups.outcome(run)
