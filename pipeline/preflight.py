"""Every check that can be made before long work: what would fail after an evening's training fails here, in seconds."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_trainer.chat_format import ChatFormat
from lora_trainer.errors import BaseModelError, ConversionError, ResourceError, UserError
from lora_trainer.events import Check, Listener, Note
from ollama_export.proof import Proof
from ollama_export.template import gguf_chat_template, ollama_template
from pipeline.job import Job, library_versions
from pipeline.proofs import check_tokens, choose_proofs

if TYPE_CHECKING:
    from lora_trainer.base_models import BaseModel
    from lora_trainer.encode import EncodedDialogues
    from ollama_export.client import OllamaClient

OLLAMA_QUANTIZES = ("q4_K_M", "q4_K_S")
"""The K-quants that Ollama makes itself; the others are made here by libgguf."""
BYTES_PER_WEIGHT = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 1.07, "q6_K": 0.83, "q5_K_M": 0.72, "q5_K_S": 0.7}
"""Bytes per weight of a GGUF type, rounded up; the other K-quants take less than `q5_K_S`."""
SPARE_DISK = 256 << 20
"""Bytes that stay free beside what a run writes: checkpoints, the loss curve, somebody else's files."""


@dataclass(frozen=True)
class Prepared:
    """What the checks found and the stages need."""

    base: BaseModel
    tokenizer: Any
    chat_format: ChatFormat
    train_rows: EncodedDialogues
    val_rows: EncodedDialogues
    proofs: tuple[Proof, ...]


def check(job: Job, listener: Listener) -> Prepared | None:
    """Go through the checklist; raises the UserError of the first check that fails. Nothing of it stays behind.

    None for a run that is trained already: what is left of it needs the record only.
    """
    from lora_trainer.base_models import chat_format_of, load_tokenizer, resolve_base_model
    from lora_trainer.hardware import unused_card
    from lora_trainer.sharding import check_version
    from ollama_export.gguf import supported_architecture

    check_version()
    trained = job.run is not None and job.run.has_done("train")
    if job.client is not None:
        from ollama_export.start import ensure_running

        with _checking(listener, "ollama") as facts:
            facts["version"] = ensure_running(job.client, starting=lambda command: tell_start(command, listener))
    if trained and job.run is not None and job.run.has_done("export"):
        return None
    with _checking(listener, "base_model") as facts:
        base = resolve_base_model(job.base_source, listener=listener, ollama_blob=ollama_blob(job.client))
        facts |= {"architecture": base.architecture, "size": parameter_count(base.parameters)}
        if job.run is not None and job.run.record["base"]["revision"] != base.revision:
            raise BaseModelError("error.base.changed", source=base.source)
    with _checking(listener, "architecture"):
        if not supported_architecture(base.path, base.kind, job.request.llama_cpp):
            raise BaseModelError("error.base.not_convertible", architecture=base.architecture, source=base.source)
    with _checking(listener, "disk") as facts:
        facts |= check_disk(job, base)
    if trained:
        return None
    if job.plan.qlora:
        with _checking(listener, "qlora") as facts:
            facts |= check_four_bits(base, listener)
    if unused := unused_card():
        listener(unused)
    with _checking(listener, "memory") as facts:
        facts |= check_memory(job, base)
    with _checking(listener, "chat_format") as facts:
        tokenizer = load_tokenizer(base)
        chat_format = chat_format_of(base, tokenizer)
        facts["end"] = chat_format.end_of_turn
    with _checking(listener, "encode") as facts:
        train_rows, val_rows = _encoded(job, chat_format, tokenizer, listener)
        facts["sequences"], facts["supervised"] = train_rows.counts()
    proofs = choose_proofs(job.dataset.train, job.dataset.system, chat_format, tokenizer)
    prepared = Prepared(base, tokenizer, chat_format, train_rows, val_rows, proofs)
    if job.run is not None and job.run.record["versions"] == library_versions():
        listener(Check("rehearsal_export", "skipped", "check.rehearsed"))
    else:
        rehearse(job, prepared, listener)
    return prepared


def tell_start(command: str, listener: Listener) -> None:
    """Say that a stopped Ollama is being started, and how."""
    listener(Note("note.starting_ollama", {"command": command}))


def ollama_blob(client: OllamaClient | None) -> Callable[[str], Path]:
    """Where `ollama:NAME` finds the model's file; a run that registers nothing asks Ollama all the same."""
    from ollama_export.client import OllamaClient

    return lambda name: (client or OllamaClient()).blob_path(name)


def _encoded(
    job: Job, chat_format: ChatFormat, tokenizer: Any, listener: Listener
) -> tuple[EncodedDialogues, EncodedDialogues]:
    from lora_trainer.dataset import Finding, raise_on_faults
    from lora_trainer.encode import encode

    rows: list[EncodedDialogues] = []
    findings: list[Finding] = []
    for dialogues in (job.dataset.train, job.dataset.val):
        encoded, too_long = encode(dialogues, chat_format, tokenizer, job.plan.max_length)
        rows.append(encoded)
        findings += too_long
    if findings and not job.request.skip_bad_rows:
        raise_on_faults(replace(job.dataset, findings=tuple(findings)))
    if findings:
        listener(Note("note.too_long_skipped", {"count": len(findings), "max_length": job.plan.max_length}))
    return rows[0], rows[1]


def check_disk(job: Job, base: BaseModel) -> dict[str, Any]:
    """Room for the GGUF, and for Ollama's copy of it where its store is on this machine; raises ResourceError."""
    by_ollama = job.client is not None and job.quantize in OLLAMA_QUANTIZES
    written = base.parameters * BYTES_PER_WEIGHT.get(job.quantize, BYTES_PER_WEIGHT["q5_K_S"])
    if job.quantize not in ("f32", "f16", "bf16", "q8_0"):
        written += base.parameters * BYTES_PER_WEIGHT["f16"]
    needed: dict[Path, float] = {_existing(job.history.home): written + SPARE_DISK}
    if job.client is not None and job.client.is_local:
        store = _existing(Path(os.environ.get("OLLAMA_MODELS") or Path.home() / ".ollama" / "models"))
        same = next((place for place in needed if place.stat().st_dev == store.stat().st_dev), store)
        needed[same] = needed.get(same, 0) + written * (1.5 if by_ollama else 1)
    for place, size in needed.items():
        free = shutil.disk_usage(place).free
        if free < size:
            raise ResourceError("error.disk.too_small", path=place, needed=_gb(size), free=_gb(free))
    return {"needed": _gb(sum(needed.values()))}


def check_four_bits(base: BaseModel, listener: Listener) -> dict[str, Any]:
    """Whether the base model can be trained on in 4 bits here; raises UsageError."""
    from lora_trainer import four_bits
    from lora_trainer.hardware import detect

    hardware = detect()
    version = four_bits.check_four_bits(base, hardware)
    if hardware.device != "cuda":
        listener(Note("note.qlora.slow", {"device": hardware.name}))
    return {"version": version}


def check_memory(job: Job, base: BaseModel) -> dict[str, Any]:
    """Memory for the training, as estimated; raises ResourceError with the numbers."""
    from lora_trainer.hardware import detect, training_memory_needed

    hardware = detect()
    needed = training_memory_needed(base, job.plan, hardware)
    if needed > hardware.memory_free:
        in_four_bits = replace(job.plan, qlora=True)
        helps = (
            base.kind == "folder"
            and hardware.shards == 1
            and training_memory_needed(base, in_four_bits, hardware) <= hardware.memory_free
        )
        raise ResourceError(
            "error.memory.too_small_unless_qlora" if helps else "error.memory.too_small",
            device=hardware.name,
            dtype=hardware.dtype,
            needed=_gb(needed),
            free=_gb(hardware.memory_free),
            total=_gb(hardware.memory_total),
        )
    return {"device": hardware.name, "needed": _gb(needed), "free": _gb(hardware.memory_free)}


def rehearse(job: Job, prepared: Prepared, listener: Listener) -> None:
    """Send a dwarf of the architecture, with the real tokenizer, through export, llama.cpp and Ollama.

    Raises what the real run would raise hours later. A model of which no dwarf can be made is told so, and only its
    tokens are checked at the end.
    """
    from lora_trainer.dwarf import make_dwarf
    from lora_trainer.hardware import detect
    from lora_trainer.train import adapted_model
    from ollama_export import engine
    from ollama_export.gguf import export_gguf

    with tempfile.TemporaryDirectory(prefix="rehearsal-", ignore_cleanup_errors=True) as folder:
        with _checking(listener, "rehearsal_export"):
            dwarf = make_dwarf(prepared.base, Path(folder) / "dwarf")
            if dwarf is None:
                raise _Skip("check.no_dwarf")
            adapter = Path(folder) / "adapter"
            # bitsandbytes has code of its own for each device
            hardware = detect() if job.plan.qlora else None
            device, dtype = (hardware.device, hardware.dtype) if hardware else ("cpu", "float32")
            adapted_model(dwarf, job.plan, device, dtype).save_pretrained(adapter, save_embedding_layers=False)
            gguf = export_gguf(
                dwarf.path,
                dwarf.kind,
                adapter,
                Path(folder) / "dwarf.gguf",
                file_type="q8_0",
                chat_template=None if job.request.keep_chat_template else gguf_chat_template(prepared.chat_format),
                add_bos=prepared.chat_format.tokenizer_adds_bos,
                eos_token=prepared.chat_format.end_of_turn,
                llama_cpp=job.request.llama_cpp,
            )
        if dwarf is None:
            return
        with _checking(listener, "tokens") as facts:
            if not engine.is_installed():
                raise _Skip("check.no_engine")
            dialogues = (*job.dataset.train, *job.dataset.val)
            with engine.Engine(gguf.path, context=512) as loaded:
                facts["count"] = check_tokens(loaded, dialogues, prepared.chat_format, prepared.tokenizer)
        if job.client is not None:
            with _checking(listener, "rehearsal_ollama"):
                _rehearse_in_ollama(job, prepared, gguf.path, f"sha256:{gguf.sha256}", listener)


def _rehearse_in_ollama(job: Job, prepared: Prepared, gguf: Path, digest: str, listener: Listener) -> None:
    from ollama_export.proof import prove

    client, strict = job.client, not job.request.keep_chat_template
    assert client is not None
    name = f"train-to-ollama-rehearsal:{uuid.uuid4().hex[:12]}"
    try:
        client.upload(gguf, digest)
        client.create(
            name,
            files={gguf.name: digest},
            template=ollama_template(prepared.chat_format),
            system=job.dataset.system,
            parameters={"stop": [prepared.chat_format.end_of_turn]},
        )
        # Random weights say nothing sensible and never stop: what counts is how they are asked.
        findings = prove(client, name, prepared.proofs, strict=strict, must_stop=False, answer_tokens=8)
    finally:
        client.delete(name, missing_ok=True)
    for finding in findings:
        if finding.fatal:
            raise ConversionError(finding.key, **finding.values)
        if finding.key.startswith("note."):
            listener(Note(finding.key, finding.values))


class _Skip(Exception):
    """A check that can't be made here; the text key says why."""


@contextmanager
def _checking(listener: Listener, name: str) -> Iterator[dict[str, Any]]:
    """Tell a check's beginning and end; the facts put into the yielded dict go along."""
    facts: dict[str, Any] = {}
    listener(Check(name, "running"))
    try:
        yield facts
    except _Skip as skip:
        listener(Check(name, "skipped", str(skip), facts))
    except UserError as error:
        listener(Check(name, "failed", error.key, error.values))
        raise
    else:
        listener(Check(name, "ok", f"check.{name}.ok" if facts else None, facts))


def _existing(path: Path) -> Path:
    """The nearest folder above (or at) a path that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


def parameter_count(parameters: int) -> str:
    """A model's size as people say it: 135M, 7.6B."""
    return f"{parameters / 1e9:.1f}B" if parameters >= 1e9 else f"{parameters / 1e6:.3g}M"
