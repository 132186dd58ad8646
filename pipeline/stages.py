"""The stages of a run, train -> export -> prove -> publish, with a journal: what is done is not done twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_desk.counting.general import general_text
from lora_trainer.errors import Interrupted, UsageError, UserError
from lora_trainer.events import Doing, Listener, Note, StageDone, StageStarted
from lora_trainer.models.recorded import base_record
from pipeline.checks.checklist import Prepared
from pipeline.job import Dataset, Job, library_versions
from pipeline.outcome.along import language_of, questions_along
from pipeline.outcome.note import cleaned
from pipeline.outcome.points import drop_points
from pipeline.publishing import export, is_published_as_wanted, must_export, prove, publish_run
from pipeline.run.adapters import mend_adapter
from pipeline.run.beginnings import Beginning, beginning_of, find_beginning, first_adapter_record
from pipeline.run.history import Run, now
from pipeline.run.kept import portable, system_source
from pipeline.run.processes import Work, together
from pipeline.run.rows import has_rows, keep_rows
from pipeline.run.stopped import interrupted
from pipeline.tidying import tidy, told_if_it_fails

if TYPE_CHECKING:
    from lora_trainer.engine.along.samples import Prompt
    from lora_trainer.train import TrainResult

Stop = Callable[[], bool]
Stage = Callable[[Job, Prepared | None, Run, Listener, Stop], dict[str, Any]]


def run_stages(
    job: Job,
    prepared: Prepared | None,
    listener: Listener,
    stop: Callable[[], bool],
    *,
    until: str | None = None,
    tells_done: bool = True,
    keeps_points: bool = False,
) -> Run:
    """Bring a run to its end, from wherever it stands; the record is up to date after every step.

    `prepared` may be missing for a run that is trained already; `until` names a stage after which nothing more is done:
    behind "prove" the run waits for somebody to decide about it. `tells_done`: whether what was done before is told.
    `keeps_points`: the points along the way stay when all is done, as they do where that was so before.

    Raises the UserError of the stage that failed, Interrupted where `stop()` says so or Ctrl-C breaks in; the same
    request goes on there.
    """
    run = job.run
    if run is None:
        assert prepared is not None
        run = job.history.begin(job.name, **_first_record(job, prepared))
    if prepared is not None and not has_rows(run.folder):
        keep_rows(run.folder, prepared.dataset)
    if job.request.note is not None:
        run.update(note=cleaned(job.request.note))
    mend_adapter(run, listener, may_train=prepared is not None)
    stages: list[tuple[str, Stage]] = [("train", _train), ("export", export), ("prove", prove)]
    if job.client is not None:
        stages.append(("publish", publish_run))
    # A run that is over stays what it was while it is registered once more, however that ends; one that waits does so
    # until it is decided.
    waits = run.is_waiting and run.has_done("train") and until == "prove"
    was_over = run.is_over
    before = run.record["status"] if was_over or waits else None
    if before is None:
        run.update(status="running")
    try:
        for name, stage in stages:
            if run.has_done(name) and not _must_repeat(job, run, name):
                if tells_done:
                    listener(StageDone(name, run.record["stages"][name]["seconds"], reused=True))
                if name == until:
                    break
                continue
            if stop():
                raise interrupted(job.name, run, registers=job.client is not None)
            started = time.monotonic()
            listener(StageStarted(name, job.name))
            facts = stage(job, prepared, run, listener, stop)
            run.mark_done(name, time.monotonic() - started, **facts)
            listener(StageDone(name, time.monotonic() - started))
            if name == until:
                break
    except BaseException as failure:
        error = failure
        if isinstance(failure, KeyboardInterrupt):
            error = interrupted(job.name, run, registers=job.client is not None)
        stopped = isinstance(error, Interrupted)
        reason = {"key": error.key, "values": error.values} if isinstance(error, UserError) else {"key": repr(error)}
        run.update(status=before or ("interrupted" if stopped else "failed"), error=reason)
        if error is failure:
            raise
        raise error from None
    if until is not None:
        run.update(status="waiting" if until == "prove" else "trained")
        return run
    run.record.pop("error", None)
    if not (keeps_points or was_over):
        # before the run is done, whose points are kept when it is registered once more
        told_if_it_fails([lambda: drop_points(run)], run, listener)
    run.update(status="done", finished=now())
    tidy(run, listener, keeps_gguf=job.client is None or job.request.keep_gguf, keeps_points=True)
    return run


def decline(run: Run, listener: Listener, *, keeps_gguf: bool = False, keeps_points: bool = False) -> None:
    """What stands stays; the run's adapter is kept, to be published later. Its GGUF, which is made again then, goes."""
    tidy(run, listener, keeps_gguf=keeps_gguf, keeps_points=keeps_points)
    run.record.pop("error", None)
    run.update(status="declined", finished=now())


def _must_repeat(job: Job, run: Run, stage: str) -> bool:
    if stage == "export":
        return must_export(job, run)
    return stage == "publish" and (job.request.register_only or not is_published_as_wanted(job, run))


def _first_record(job: Job, prepared: Prepared) -> dict[str, Any]:
    data, taken = prepared.dataset, job.taken
    return {
        "request": job.request.identity,
        "strategy": job.strategy,
        "overwrite": job.overwrite,
        **first_adapter_record(job.request, job.strategy, job.plan, job.previous, new_base=job.new_base),
        "parent": job.previous.number if job.previous else None,
        "plan": job.plan.to_json(),
        "data": _data_record(job, data),
        "base": base_record(prepared.base),
        "system": data.system,
        "system_source": system_source(taken.request, taken.sources) if taken else "rows",
        "chat_format": prepared.chat_format.to_json(),
        **job.serving.to_record(),
        "proofs": [asdict(proof) for proof in prepared.proofs],
        "versions": library_versions(),
        "publishing": {},
    }


def _data_record(job: Job, data: Dataset) -> dict[str, Any]:
    files = {portable(Path(name)): facts for name, facts in data.files.items()}
    train_file, *others = files
    return {
        "fingerprint": data.fingerprint,
        "files": files,
        "train_file": train_file,
        "val_file": others[0] if others else None,
        "rows_of_run": job.taken.request.rows_of_run if job.taken else None,
        "split": data.split,
        "change": asdict(job.change) if job.change else None,
        **({"corrections": data.corrections} if data.corrections else {}),
        **data.statistics(),
    }


def _train(job: Job, prepared: Prepared | None, run: Run, listener: Listener, stop: Stop) -> dict[str, Any]:
    listener(Doing("libraries"))
    from lora_trainer.engine.fallback import give_memory_back
    from lora_trainer.train import train
    from pipeline.run.loss_curve import draw

    assert prepared is not None
    data = prepared.dataset
    language = language_of(data)
    prompts = _prompts_along(job, prepared, run)
    _take_beginning(job, prepared, run, listener)
    initial = _initial_adapter(job, run)
    with together(Work(prepared.base, prepared.chat_format, data.train, data.val, run.plan)):
        data.set_aside()
        give_memory_back("cpu")
        result = train(
            prepared.base,
            prepared.tokenizer,
            prepared.train_rows,
            prepared.val_rows,
            run.plan,
            run.folder,
            listener=listener,
            stop=stop,
            resume=True,
            initial_adapter=initial,
            prompts=prompts,
            general_text=general_text(language),
        )
    if result.interrupted:
        raise interrupted(job.name, run)
    training = training_record(result, language)
    draw(training, run.plan.steps_per_epoch(len(prepared.train_rows)), run.folder / "loss.png")
    return {"training": training}


def _prompts_along(job: Job, prepared: Prepared, run: Run) -> tuple[Prompt, ...]:
    """The questions that the model answers while it learns, as it reads them."""
    from lora_trainer.engine.along.samples import prompts_of

    questions = questions_along(prepared.dataset, job.request.samples or 0)
    system, fmt = run.record["system"], prepared.chat_format
    return prompts_of(questions, system, fmt, prepared.tokenizer, run.plan.max_length)


def training_record(result: TrainResult, language: str = "zh") -> dict[str, Any]:
    """What of a training goes into the run's record under `training`, as plain JSON values.

    `language`: of the page of general text.
    """
    samples = [asdict(sample) for sample in result.samples]
    general = dict(zip(("before", "after"), result.general_loss or (), strict=False))
    return {
        "steps": result.steps,
        "losses": result.losses,
        "val_losses": result.val_losses,
        "best_step": result.best_step,
        "seconds": round(result.seconds, 2),
        "device": result.device,
        "dtype": result.dtype,
        **result.speed,
        **({"peak_memory": result.peak_memory} if result.peak_memory is not None else {}),
        **({"adapted": result.adapted} if result.adapted else {}),
        "adapter": result.adapter.name,
        "points": [{**asdict(point), "samples": _said_at(point.step, samples)} for point in result.points],
        "samples": samples,
        **({"general_loss": {"language": language, **general}} if general else {}),
    }


def _said_at(step: int, samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    told = ("question", "answer", "stopped")
    return [{name: sample[name] for name in told} for sample in samples if sample["step"] == step]


def _initial_adapter(job: Job, run: Run) -> Path | None:
    """The adapter that a warm start begins with; raises UsageError where it doesn't fit or is gone."""
    from lora_trainer.engine.checkpoints import adapter_fault

    number = run.record["warm_start"]
    if number is None:
        return None
    parent = job.history.numbered(job.name, number)
    if parent is None:
        raise UsageError("error.warm_start.gone", number=number)
    adapter = parent.folder / run.record.get("warm_start_adapter", parent.record["training"]["adapter"])
    if adapter_fault(adapter):
        raise UsageError("error.warm_start.gone", number=number)
    for name, before, wanted in (
        ("base_model", parent.record["base"]["revision"], run.record["base"]["revision"]),
        ("lora_rank", parent.plan.lora_rank, run.plan.lora_rank),
        ("lora_alpha", parent.plan.lora_alpha, run.plan.lora_alpha),
    ):
        if before != wanted:
            raise UsageError("error.warm_start.differs", name=name, number=parent.number)
    return adapter.absolute()


def _take_beginning(job: Job, prepared: Prepared, run: Run, listener: Listener) -> None:
    """Let a run that continues a model go on from where an earlier one was stable, if nothing else has changed."""
    from lora_trainer.engine.checkpoints import Checkpoints
    from lora_trainer.engine.hardware import detect

    hardware = detect()
    now = beginning_of(run.record, library_versions(), hardware.device, hardware.dtype)
    checkpoints = Checkpoints(run.folder / "checkpoints")
    if "beginning" not in run.record or run.record["beginning"] != now:
        run.update(beginning=now)
    shares = job.strategy is not None or job.request.ladder is not None
    if not shares or job.request.from_scratch or checkpoints.steps():
        return
    begins_with = run.record["warm_start"]
    if job.request.warm_start:
        listener(Note("note.warm_start", {"number": begins_with}))
        return
    found = find_beginning(job.history, run, len(prepared.train_rows))
    if isinstance(found, Beginning):
        checkpoints.clear(all_of_them=True)
        checkpoints.adopt(found.checkpoint, found.step)
        run.update(began_with={"run": found.run.number, "step": found.step})
        listener(Note("note.beginning.shared", {"number": found.run.number, "step": found.step}))
    elif found:
        key = "note.beginning.changed" if begins_with is None else "note.beginning.changed_warm"
        listener(Note(key, {"what": ", ".join(found), "number": begins_with}))
        if "data" in found:
            listener(Note("note.beginning.warm_start"))
