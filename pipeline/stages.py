"""The stages of a run, train -> export -> prove -> publish, with a journal: what is done is not done twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from file_formats.file_types import FILE_TYPES
from lora_trainer.chat_format import ChatFormat
from lora_trainer.engine.schedule import stable_steps
from lora_trainer.errors import ConversionError, Interrupted, UsageError, UserError
from lora_trainer.events import Listener, Note, Progress, StageDone, StageStarted
from lora_trainer.models.recorded import base_record
from ollama_export.modelfile import modelfile
from ollama_export.publish import Publication, publish
from ollama_export.template import gguf_chat_template, ollama_template
from pipeline.checks.checklist import Prepared
from pipeline.checks.proofs import proofs_of
from pipeline.job import Job, identity, library_versions
from pipeline.run.base_model import recorded_base_model
from pipeline.run.beginnings import Beginning, beginning_of, find_beginning, first_adapter
from pipeline.run.history import Run, now
from pipeline.run.processes import Work, together

ANSWER_TOKENS = 256
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
    stages: list[tuple[str, Stage]] = [("train", _train), ("export", _export), ("prove", _prove)]
    if job.client is not None:
        stages.append(("publish", _publish))
    run.update(status="running")
    try:
        for name, stage in stages:
            if run.has_done(name) and not _must_repeat(run, name):
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
        run.update(status="interrupted" if interrupted else "failed", error=reason)
        raise
    if until is not None:
        run.update(status="trained")
        return run
    if job.client is not None and not job.request.keep_gguf:
        _remove_gguf(run)
    run.record.pop("error", None)
    run.update(status="done", finished=now())
    _drop_checkpoints(run)
    return run


def _drop_checkpoints(run: Run) -> None:
    from lora_trainer.engine.checkpoints import Checkpoints

    Checkpoints(run.folder / "checkpoints").keep_only(stable_steps(run.record["training"]["steps"], run.plan.scheduler))


def gguf_path(run: Run) -> Path:
    """Where a run's GGUF is while it is kept: named after the model, beside the Modelfile."""
    return run.folder / f"{run.folder.parent.name}.gguf"


def _remove_gguf(run: Run) -> None:
    """Ollama holds it from now on; the Modelfile, which needs it, says how it is had again."""
    gguf_path(run).unlink(missing_ok=True)
    path, name = run.folder / "Modelfile", run.record["name"]
    text = path.read_text(encoding="utf-8")
    if not text.startswith("#"):
        how = f"python train_to_ollama.py --ollama_name {name} --register_only --run {run.number} --keep_gguf"
        said = "# GGUF 已存入 Ollama，这里的已删除；重新生成 / Ollama has the GGUF, it is gone here; to have it again:"
        path.write_text(f"{said}\n#   {how}\n{text}", encoding="utf-8", newline="\n")


def _must_repeat(run: Run, stage: str) -> bool:
    """A file that was exported may have been removed since; without one, nothing can be proven or published."""
    return stage == "export" and not run.is_published and not gguf_path(run).exists()


def _first_record(job: Job, prepared: Prepared) -> dict[str, Any]:
    data = prepared.dataset
    return {
        "request": identity(job.request),
        "strategy": job.strategy,
        "overwrite": job.overwrite,
        "warm_start": first_adapter(job.request, job.strategy, job.plan, job.previous),
        "parent": job.previous.number if job.previous else None,
        "plan": job.plan.to_json(),
        "data": {"fingerprint": data.fingerprint, "files": data.files, **data.statistics()},
        "base": base_record(prepared.base),
        "system": data.system,
        "chat_format": prepared.chat_format.to_json(),
        "keep_chat_template": job.request.keep_chat_template,
        "parameters": job.parameters,
        "quantize": job.quantize,
        "proofs": [asdict(proof) for proof in prepared.proofs],
        "versions": library_versions(),
        "publishing": {},
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
    number = run.record["warm_start"]
    if number is None:
        return None
    parent = next((other for other in job.history.runs(job.name) if other.number == number), None)
    if parent is None or not (parent.folder / "adapter").is_dir():
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


def _export(job: Job, _: Prepared | None, run: Run, listener: Listener, __: Stop) -> dict[str, Any]:
    from ollama_export.gguf.export import export_gguf

    # also right behind a training: hours may lie between
    base = recorded_base_model(run.record["base"], job.client, listener)
    chat_format = ChatFormat.from_json(run.record["chat_format"])
    # What was proven of an earlier file says nothing of the one that is written now.
    run.update(stages={"train": run.record["stages"]["train"]})
    wanted = run.record["quantize"]
    first: Any = wanted if FILE_TYPES[wanted].streamed else "f16"
    path = gguf_path(run)
    written = export_gguf(
        base.path,
        base.kind,
        run.folder / run.record["training"]["adapter"],
        path,
        file_type=first,
        chat_template=None if run.record["keep_chat_template"] else gguf_chat_template(chat_format),
        add_bos=chat_format.tokenizer_adds_bos,
        eos_token=chat_format.end_of_turn,
        llama_cpp=job.request.llama_cpp,
        progress=lambda done, total: listener(Progress("export", done, total)),
    )
    # A base that was a GGUF keeps quantised tensors, which Ollama refuses to quantise again.
    by_ollama = job.client is not None and FILE_TYPES[wanted].by_ollama and base.kind == "folder"
    if first != wanted and not by_ollama:
        from ollama_export.gguf.k_quants import quantize_gguf

        whole = path.with_suffix(".f16.gguf")
        path.replace(whole)
        written = quantize_gguf(whole, path, wanted)
        whole.unlink()
    text = modelfile(
        path.name,
        template=ollama_template(chat_format),
        system=run.record["system"],
        parameters={"stop": [chat_format.end_of_turn], **run.record["parameters"]},
    )
    (run.folder / "Modelfile").write_text(text.text, encoding="utf-8", newline="\n")
    for key, values in text.notes:
        listener(Note(key, values))
    return {"gguf": {"digest": written.sha256, "size": written.size, "file_type": written.file_type}}


def _prove(_: Job, __: Prepared | None, run: Run, listener: Listener, ___: Stop) -> dict[str, Any]:
    from ollama_export.llama_cpp import engine

    if not engine.is_installed():
        listener(Note("note.prove.no_engine"))
        return {"answers": []}
    answers = []
    with engine.Engine(gguf_path(run), context=max(2048, run.plan.max_length + ANSWER_TOKENS)) as loaded:
        for proof in run.record["proofs"]:
            answer = loaded.complete(proof["prompt"], max_tokens=ANSWER_TOKENS)
            if answer.prompt_tokens != proof["tokens"]:
                values = {"expected": proof["tokens"], "found": answer.prompt_tokens, "prompt": proof["prompt"]}
                raise ConversionError("error.prove.tokens", **values)
            answers.append({"prompt": proof["prompt"], "answer": answer.text, "stopped": answer.stopped})
    if not all(answer["stopped"] for answer in answers):
        listener(Note("note.prove.no_stop", {"tokens": ANSWER_TOKENS}))
    return {"answers": answers}


def _publish(job: Job, _: Prepared | None, run: Run, listener: Listener, __: Stop) -> dict[str, Any]:
    assert job.client is not None
    record = run.record
    chat_format = ChatFormat.from_json(record["chat_format"])
    publication = Publication(
        name=job.name,
        gguf=gguf_path(run),
        digest=record["gguf"]["digest"],
        template=ollama_template(chat_format),
        system=record["system"],
        parameters={"stop": [chat_format.end_of_turn], **record["parameters"]},
        quantize=record["quantize"] if record["gguf"]["file_type"] != record["quantize"] else None,
        proofs=proofs_of(run),
        label=str(run.number),
        strict=not record["keep_chat_template"],
        # An answer that goes on is told, not thrown away with an evening's training: the old model is one command away.
        must_stop=False,
        backup=not job.request.no_backup,
        keep_backups=0 if job.overwrite and job.request.keep_backups is None else job.request.backups,
    )

    def mark(step: str, **facts: Any) -> None:
        run.update(publishing={**run.record["publishing"], step: facts})

    published = publish(
        job.client,
        publication,
        done=record["publishing"],
        mark=mark,
        report=lambda task, done, total: listener(Progress(task, done, total)),
    )
    for finding in published.findings:
        listener(Note(finding.key, finding.values))
    if published.gguf not in (None, record["gguf"]["digest"]) and publication.quantize is None:
        listener(Note("note.publish.rewritten"))
    stops = all(finding.key != "error.proof.endless" for finding in published.findings)
    ollama = {"digest": published.digest, "gguf": published.gguf, "backup": published.backup, "stops": stops}
    return {"ollama": {**ollama, "host": job.client.host, "version": job.client.version()}}
