"""The stages of a run, train -> export -> prove -> publish, with a journal: what is done is not done twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lora_trainer.engine.schedule import stable_steps
from lora_trainer.errors import Interrupted, UsageError, UserError
from lora_trainer.events import Listener, Note, StageDone, StageStarted
from lora_trainer.models.recorded import base_record
from pipeline.checks.checklist import Prepared
from pipeline.job import Dataset, Job, identity, library_versions
from pipeline.publishing import export, gguf_path, is_published_as_wanted, must_export, prove, publish_run
from pipeline.run.adapters import mend_adapter
from pipeline.run.beginnings import Beginning, beginning_of, find_beginning, first_adapter
from pipeline.run.history import Run, now
from pipeline.run.kept import portable, system_source
from pipeline.run.processes import Work, together
from pipeline.run.rows import has_rows, keep_rows

Stop = Callable[[], bool]
Stage = Callable[[Job, Prepared | None, Run, Listener, Stop], dict[str, Any]]


def run_stages(
    job: Job, prepared: Prepared | None, listener: Listener, stop: Callable[[], bool], *, until: str | None = None
) -> Run:
    """Bring a run to its end, from wherever it stands; the record is up to date after every step.

    `prepared` may be missing for a run that is trained already; `until` names a stage after which nothing more is done.

    Raises the UserError of the stage that failed, Interrupted where `stop()` says so; the same request goes on there.
    """
    run = job.run
    if run is None:
        assert prepared is not None
        run = job.history.begin(job.name, **_first_record(job, prepared))
    if prepared is not None and not has_rows(run.folder):
        keep_rows(run.folder, prepared.dataset)
    mend_adapter(run, listener, may_train=prepared is not None)
    stages: list[tuple[str, Stage]] = [("train", _train), ("export", export), ("prove", prove)]
    if job.client is not None:
        stages.append(("publish", publish_run))
    # A run that was done stays so while it is registered once more, however that ends.
    again = run.is_done
    if not again:
        run.update(status="running")
    try:
        for name, stage in stages:
            if run.has_done(name) and not _must_repeat(job, run, name):
                listener(StageDone(name, run.record["stages"][name]["seconds"], reused=True))
                if name == until:
                    break
                continue
            if stop():
                raise Interrupted("error.interrupted", name=job.name)
            started = time.monotonic()
            listener(StageStarted(name))
            facts = stage(job, prepared, run, listener, stop)
            run.mark_done(name, time.monotonic() - started, **facts)
            listener(StageDone(name, time.monotonic() - started))
            if name == until:
                break
    except BaseException as error:
        reason = {"key": error.key, "values": error.values} if isinstance(error, UserError) else {"key": repr(error)}
        interrupted = isinstance(error, Interrupted | KeyboardInterrupt)
        run.update(status="done" if again else "interrupted" if interrupted else "failed", error=reason)
        raise
    if until is not None:
        run.update(status="trained")
        return run
    run.record.pop("error", None)
    run.update(status="done", finished=now())
    _tidy(job, run, listener)
    return run


def _must_repeat(job: Job, run: Run, stage: str) -> bool:
    if stage == "export":
        return must_export(job, run)
    return stage == "publish" and (job.request.register_only or not is_published_as_wanted(job, run))


def _tidy(job: Job, run: Run, listener: Listener) -> None:
    """Remove what nothing needs any more: the run is done, so what can't be removed is told and no more."""
    steps: list[Callable[[], None]] = [lambda: _drop_checkpoints(run)]
    if job.client is not None and not job.request.keep_gguf:
        steps.insert(0, lambda: _remove_gguf(run))
    for step in steps:
        try:
            step()
        except OSError as error:
            path = error.filename or run.folder
            listener(Note("note.not_tidied", {"path": path, "reason": error.strerror or str(error)}))


def _drop_checkpoints(run: Run) -> None:
    from lora_trainer.engine.checkpoints import Checkpoints

    Checkpoints(run.folder / "checkpoints").keep_only(stable_steps(run.record["training"]["steps"], run.plan.scheduler))


def _remove_gguf(run: Run) -> None:
    """Ollama holds it from now on; the Modelfile, which needs it, says how it is had again."""
    gguf_path(run).unlink(missing_ok=True)
    path, name = run.folder / "Modelfile", run.record["name"]
    text = path.read_text(encoding="utf-8")
    if not text.startswith("#"):
        how = f"python train_to_ollama.py --ollama_name {name} --register_only --run {run.number} --keep_gguf"
        said = "# GGUF 已存入 Ollama，这里的已删除；重新生成 / Ollama has the GGUF, it is gone here; to have it again:"
        path.write_text(f"{said}\n#   {how}\n{text}", encoding="utf-8", newline="\n")


def _first_record(job: Job, prepared: Prepared) -> dict[str, Any]:
    data, taken = prepared.dataset, job.taken
    return {
        "request": identity(job.request),
        "strategy": job.strategy,
        "overwrite": job.overwrite,
        "warm_start": first_adapter(job.request, job.strategy, job.plan, job.previous, new_base=job.new_base),
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
        **data.statistics(),
    }


def _train(job: Job, prepared: Prepared | None, run: Run, listener: Listener, stop: Stop) -> dict[str, Any]:
    from lora_trainer.engine.fallback import give_memory_back
    from lora_trainer.train import train
    from pipeline.run.loss_curve import draw

    assert prepared is not None
    data = prepared.dataset
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
        )
    if result.interrupted:
        raise Interrupted("error.interrupted", name=job.name)
    training = {
        "steps": result.steps,
        "losses": result.losses,
        "val_losses": result.val_losses,
        "best_step": result.best_step,
        "seconds": round(result.seconds, 1),
        "device": result.device,
        "dtype": result.dtype,
        "adapter": result.adapter.name,
    }
    draw(training, run.plan.steps_per_epoch(len(prepared.train_rows)), run.folder / "loss.png")
    return {"training": training}


def _initial_adapter(job: Job, run: Run) -> Path | None:
    """The adapter that a warm start begins with; raises UsageError where it doesn't fit or is gone."""
    from lora_trainer.engine.checkpoints import adapter_fault

    number = run.record["warm_start"]
    if number is None:
        return None
    parent = next((other for other in job.history.runs(job.name) if other.number == number), None)
    if parent is None or adapter_fault(parent.folder / "adapter"):
        raise UsageError("error.warm_start.gone", number=number)
    for name, before, wanted in (
        ("base_model", parent.record["base"]["revision"], run.record["base"]["revision"]),
        ("lora_rank", parent.plan.lora_rank, run.plan.lora_rank),
        ("lora_alpha", parent.plan.lora_alpha, run.plan.lora_alpha),
    ):
        if before != wanted:
            raise UsageError("error.warm_start.differs", name=name, number=parent.number)
    return (parent.folder / parent.record["training"]["adapter"]).absolute()


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
