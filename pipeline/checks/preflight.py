"""Every check that can be made before long work: what would fail after an evening's training fails here, in seconds."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lora_trainer.chat_format import ChatFormat
from lora_trainer.errors import BaseModelError, OllamaError
from lora_trainer.events import Check, Listener, Note, StageDone, StageStarted
from pipeline.checks.checklist import Prepared, checking
from pipeline.checks.context import check_context, memory_of_this_machine
from pipeline.checks.proofs import choose_proofs
from pipeline.checks.rehearsal import rehearse
from pipeline.checks.resources import (
    check_disk,
    check_four_bits,
    check_memory,
    check_quantizer,
    parameter_count,
    take_memory_back,
)
from pipeline.job import Dataset, Job, library_versions
from pipeline.run.base_model import base_model_of, chat_format_in
from pipeline.run.published import tell_start
from pipeline.run.stopped import interrupted
from pipeline.serving import fitted

if TYPE_CHECKING:
    from lora_trainer.data.encode import EncodedDialogues
    from lora_trainer.models.source import BaseModel


def check(job: Job, listener: Listener) -> Prepared | None:
    """Go through the checklist; raises the UserError of the first check that fails, Interrupted where Ctrl-C breaks in.

    Nothing of it stays behind. None for a run that is trained already: what is left of it needs the record only.
    """
    began = time.monotonic()
    listener(StageStarted("preflight", job.name))
    try:
        prepared = _checked(job, listener)
    except KeyboardInterrupt:
        raise interrupted(job.name, job.run, registers=job.client is not None) from None
    listener(StageDone("preflight", time.monotonic() - began))
    return prepared


def foresee(job: Job, base: BaseModel | None, listener: Listener) -> None:
    """What of the checklist needs nothing started, downloaded or written; raises the UserError of what fails.

    `base` is the job's base model where it lies on this machine.
    """
    began = time.monotonic()
    listener(StageStarted("preflight", job.name))
    if job.client is not None:
        try:
            job.client.version()
        except OllamaError:
            # how much room it has can't be asked
            job = replace(job, client=None)
    if base is None:
        check_quantizer(job.serving.quantize)
    else:
        _check_base(job, base, listener)
        _prepare(job, base, listener)
    listener(StageDone("preflight", time.monotonic() - began))


def _checked(job: Job, listener: Listener) -> Prepared | None:
    from lora_trainer.engine.sharding import check_version

    check_version()
    trained = job.run is not None and job.run.has_done("train")
    if job.client is not None:
        from ollama_export.server.start import ensure_running

        with checking(listener, "ollama") as facts:
            facts["version"] = ensure_running(job.client, starting=lambda command: tell_start(command, listener))
    if trained and job.run is not None and job.run.has_done("export"):
        return None
    with checking(listener, "base_model") as facts:
        base = base_model_of(job, listener)
        facts |= {"architecture": base.architecture, "size": parameter_count(base.parameters)}
    _check_base(job, base, listener)
    if trained:
        return None
    prepared = _prepare(job, base, listener)
    if job.run is not None and job.run.record["versions"] == library_versions():
        listener(Check("rehearsal_export", "skipped", "check.rehearsed"))
    else:
        rehearse(job, prepared, listener)
    return prepared


def _check_base(job: Job, base: BaseModel, listener: Listener) -> None:
    """Whether the base model can be trained, converted and stored."""
    from lora_trainer.models.adapter import layers_of
    from lora_trainer.models.folder import foreign_code
    from lora_trainer.models.load import check_weights, empty_model, takes_more_than_text
    from ollama_export.gguf.export import supported_architecture
    from ollama_export.gguf.from_gguf import ARCHITECTURES

    if code := foreign_code(base.path):
        listener(Note("note.base.foreign_code", {"source": base.source, "code": ", ".join(code)}))
    if takes_more_than_text(base):
        listener(Note("note.base.text_alone", {"source": base.source}))
    with checking(listener, "architecture") as facts:
        if not supported_architecture(base.path, base.kind, job.request.llama_cpp):
            values = {"architecture": base.architecture, "source": base.source}
            if base.kind == "gguf":
                raise BaseModelError("error.base.not_mergeable", known=", ".join(ARCHITECTURES), **values)
            raise BaseModelError("error.base.not_convertible", **values)
        empty = empty_model(base)
        check_weights(base, empty)
        layers = layers_of(base, job.plan, empty)
        facts |= {"layers": len(layers.names), "kinds": ", ".join(layers.kinds)}
        check_quantizer(job.serving.quantize)
    if layers.experts:
        listener(Note("note.adapter.no_experts", {"source": base.source}))
    with checking(listener, "disk") as facts:
        facts |= check_disk(job, base, listener)


def _prepare(job: Job, base: BaseModel, listener: Listener) -> Prepared:
    """Whether there is what the training takes; the dialogues as it takes them."""
    from lora_trainer.engine.hardware import unused_card
    from lora_trainer.models.load import check_vocabulary, load_tokenizer

    data = job.dataset
    assert data is not None, "a run that isn't trained yet has its dialogues"
    if job.plan.qlora:
        with checking(listener, "qlora") as facts:
            facts |= check_four_bits(base, listener)
    if unused := unused_card():
        listener(unused)
    take_memory_back(job, base, listener)
    with checking(listener, "memory") as facts:
        facts |= check_memory(job, base)
    with checking(listener, "chat_format") as facts:
        tokenizer = load_tokenizer(base)
        chat_format = chat_format_in(job, base, tokenizer)
        check_vocabulary(base, tokenizer, chat_format)
        facts["end"] = chat_format.end_of_turn
    with checking(listener, "encode") as facts:
        train_rows, val_rows = _encoded(job, data, chat_format, tokenizer, listener)
        facts["sequences"], facts["supervised"] = train_rows.counts()
    proofs = choose_proofs(data.train, data.system, chat_format, tokenizer)
    serving = fitted(job.serving, base, train_rows.most_tokens()[0], listener)
    served_here = job.client is None or job.client.is_local
    check_context(serving, base, listener, memory=memory_of_this_machine() if served_here else None)
    return Prepared(data, base, tokenizer, chat_format, train_rows, val_rows, proofs, serving)


def _encoded(
    job: Job, data: Dataset, chat_format: ChatFormat, tokenizer: Any, listener: Listener
) -> tuple[EncodedDialogues, EncodedDialogues]:
    from lora_trainer.data.dataset import raise_on_faults
    from lora_trainer.data.encode import encode
    from lora_trainer.data.findings import Finding

    rows: list[EncodedDialogues] = []
    findings: list[Finding] = []
    for dialogues in (data.train, data.val):
        encoded, faults = encode(dialogues, chat_format, tokenizer, job.plan.max_length)
        rows.append(encoded)
        findings += faults
    if findings and not job.request.skip_bad_rows:
        raise_on_faults(replace(data, findings=tuple(findings)))
    too_long = sum(finding.key == "data.fault.too_long" for finding in findings)
    if too_long:
        listener(Note("note.too_long_skipped", {"count": too_long, "max_length": job.plan.max_length}))
    if others := len(findings) - too_long:
        listener(Note("note.control_skipped", {"count": others}))
    return rows[0], rows[1]
