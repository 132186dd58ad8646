"""The rehearsal: a tiny model of the base model's kind goes the whole way, so that what would fail fails in seconds."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from lora_trainer.events import Listener, Note
from ollama_export.server.names import REHEARSAL
from ollama_export.template import gguf_chat_template, ollama_template
from pipeline.checks.checklist import Prepared, Skip, checking
from pipeline.checks.proofs import behind, check_tokens
from pipeline.job import Job
from pipeline.temporary import own_folder

if TYPE_CHECKING:
    from ollama_export.server.client import OllamaClient


def _mark(home: Path) -> str:
    """What rehearsals of one home on one machine have in their names: whose process is gone is known there only."""
    place = f"{socket.gethostname()} {home.absolute()}"
    return hashlib.sha256(place.encode()).hexdigest()[:8]


def left_over_rehearsals(client: OllamaClient, home: Path) -> list[str]:
    """The rehearsals' models that killed processes of this home have left in Ollama."""
    import psutil  # type: ignore[import-untyped, unused-ignore]

    ours = re.compile(rf"{REHEARSAL}:{_mark(home)}-([0-9]+)-[0-9a-f]+")
    found = [match for model in client.tags() if (match := ours.fullmatch(model["name"]))]
    return [match[0] for match in found if int(match[1]) != os.getpid() and not psutil.pid_exists(int(match[1]))]


def sweep(client: OllamaClient, home: Path) -> None:
    """Delete them."""
    for name in left_over_rehearsals(client, home):
        client.delete(name, missing_ok=True)


def rehearse(job: Job, prepared: Prepared, listener: Listener) -> None:
    """Send a tiny model of the architecture, with the real tokenizer, through two steps of training, export, llama.cpp
    and Ollama, with the numbers, the type, the parameters and the words that the real one is to have.

    Raises what the real run would raise hours later. A model of which none can be made is told so, and only its
    tokens are checked at the end.
    """
    from lora_trainer.engine.hardware import detect
    from lora_trainer.models.tiny import make_tiny_model
    from lora_trainer.models.tokenizer_file import cut_differently
    from lora_trainer.trial_steps import adapter_after_steps
    from ollama_export.gguf.export import export_gguf
    from ollama_export.llama_cpp import engine

    with own_folder("rehearsal") as folder:
        with checking(listener, "rehearsal_export"):
            tiny = make_tiny_model(prepared.base, Path(folder) / "tiny")
            if tiny is None:
                raise Skip("check.no_tiny_model")
            adapter = Path(folder) / "adapter"
            # bitsandbytes has code of its own for each device
            hardware = detect() if job.plan.qlora else None
            device, dtype = (hardware.device, hardware.dtype) if hardware else ("cpu", "float32")
            trained = adapter_after_steps(tiny, prepared.train_rows, job.plan, device, dtype)
            trained.save_pretrained(adapter, save_embedding_layers=False)
            gguf = export_gguf(
                tiny.path,
                tiny.kind,
                adapter,
                Path(folder) / "tiny.gguf",
                file_type=prepared.serving.quantize,
                chat_template=None if prepared.serving.keep_chat_template else gguf_chat_template(prepared.chat_format),
                add_bos=prepared.chat_format.tokenizer_adds_bos,
                eos_token=prepared.chat_format.end_of_turn,
                other_ends=prepared.chat_format.other_ends,
                llama_cpp=job.request.llama_cpp,
                foretaste=prepared.base.path,
            )
        if tiny is None:
            return
        if text := cut_differently(prepared.base.path, prepared.tokenizer):
            listener(Note("note.base.tokenizer_differs", {"source": prepared.base.source, "text": repr(text)}))
        with checking(listener, "tokens") as facts:
            if not engine.is_installed():
                raise Skip("check.no_engine")
            dialogues = (*prepared.dataset.train, *prepared.dataset.val)
            with engine.Engine(gguf.path, context=512) as loaded:
                facts["count"] = check_tokens(loaded, dialogues, prepared.chat_format, prepared.tokenizer)
        if job.client is not None:
            with checking(listener, "rehearsal_ollama"):
                _rehearse_in_ollama(job, prepared, gguf.path, f"sha256:{gguf.sha256}", listener)


def _rehearse_in_ollama(job: Job, prepared: Prepared, gguf: Path, digest: str, listener: Listener) -> None:
    from ollama_export.proof import prove

    client, serving, chat_format = job.client, prepared.serving, prepared.chat_format
    assert client is not None
    system = prepared.dataset.system
    sweep(client, job.history.home)
    name = f"{REHEARSAL}:{_mark(job.history.home)}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        client.create_from_file(
            name,
            gguf,
            digest,
            template=ollama_template(chat_format),
            system=system,
            parameters=serving.all_parameters(chat_format.ends),
            license=serving.license,
            messages=serving.messages,
        )
        proofs, strict = behind(serving.messages, prepared.proofs, chat_format, system), not serving.keep_chat_template
        # Random weights say nothing sensible and never stop: what counts is how they are asked.
        findings = prove(client, name, proofs, strict=strict, must_stop=False, answer_tokens=8)
    finally:
        client.delete(name, missing_ok=True)
    for finding in findings:
        if finding.key.startswith("note."):
            listener(Note(finding.key, finding.values))
