"""What would fail after an evening's training fails in the preflight; what would work passes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lora_trainer.engine.hardware import detect
from lora_trainer.errors import BaseModelError, ConversionError, DataError, ResourceError
from lora_trainer.events import Check, Event, Note
from lora_trainer.models.load import load_config, load_tokenizer
from lora_trainer.models.source import resolve_base_model
from lora_trainer.plan import TrainPlan
from ollama_export.server.client import OllamaClient
from pipeline.checks import preflight, resources
from pipeline.job import Job, read_data
from pipeline.request import Request
from pipeline.run.history import History
from pipeline.run.kept import take_over
from tests.ollama_server.server import OllamaServer
from tests.support.tiny import FAMILIES, add_tokens, make_tiny

CHECKS = (
    "base_model",
    "architecture",
    "disk",
    "memory",
    "chat_format",
    "encode",
    "rehearsal_export",
    "tokens",
)
"""What is checked of a run that registers nothing, in this order."""


def job(folder: Path, base: Path | str, *, rows: Sequence[dict] | None = None, plan: TrainPlan | None = None) -> Job:
    """A job that registers nothing, with a few dialogues of all shapes."""
    talk = [("system", "你是林栀。"), ("user", "Hi  there!\n 在吗？ 🙂"), ("assistant", "（点头）嗯…… I'm here.")]
    longer = [*talk, ("user", "1 + 1 = ?\n\n\tTell me"), ("assistant", "2。")]
    every = rows or [{"messages": [{"role": r, "content": c} for r, c in turns]} for turns in (talk, longer, talk[1:])]
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    (data / "train.jsonl").write_text("\n".join(json.dumps(row) for row in every), encoding="utf-8")
    request = Request(ollama_name="phi3-jina-zzhua", data_dir=data)
    return Job(
        request=request,
        name="phi3-jina-zzhua",
        plan=plan or TrainPlan(),
        dataset=read_data(take_over(request, None), History(folder / "runs"), "zzhua"),
        base_source=str(base),
        recorded_base=None,
        strategy=None,
        overwrite=False,
        previous=None,
        history=History(folder / "runs"),
        client=None,
    )


def checked(a_job: Job) -> tuple[preflight.Prepared | None, dict[str, str]]:
    states: dict[str, str] = {}

    def listen(event: Event) -> None:
        if isinstance(event, Check):
            states[event.name] = event.state

    return preflight.check(a_job, listen), states


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_passes_with_its_tokens_equal_in_llama_cpp(tmp_path, family):
    prepared, states = checked(job(tmp_path, make_tiny(tmp_path / "base", family)))
    assert states == dict.fromkeys(CHECKS, "ok") and tuple(states) == CHECKS
    assert prepared is not None and len(prepared.train_rows) == 3
    assert not (tmp_path / "runs").exists()


def test_the_proofs_ask_without_the_runs_own_system_prompt(tmp_path):
    prepared, _ = checked(job(tmp_path, make_tiny(tmp_path / "base")))
    assert prepared is not None
    for proof in prepared.proofs:
        assert proof.messages[0]["role"] == "user" and "你是林栀。" in proof.prompt
    assert [len(proof.messages) for proof in prepared.proofs] == [1, 3]


def test_rows_too_long_are_named_before_any_training(tmp_path):
    long = {"messages": [{"role": "user", "content": "啊" * 600}, {"role": "assistant", "content": "嗯"}]}
    short = {"messages": [{"role": "user", "content": "啊"}, {"role": "assistant", "content": "嗯"}]}
    with pytest.raises(DataError) as refused:
        checked(job(tmp_path, make_tiny(tmp_path / "base"), rows=[short, long], plan=TrainPlan(max_length=128)))
    assert [finding.line for finding in refused.value.values["findings"]] == [2]


def test_too_little_disk_or_memory_is_refused_with_the_numbers(tmp_path, monkeypatch):
    base = make_tiny(tmp_path / "base")
    monkeypatch.setattr(resources, "SPARE_DISK", 1 << 60)
    with pytest.raises(ResourceError) as refused:
        checked(job(tmp_path, base))
    assert refused.value.key == "error.disk.too_small" and refused.value.values["needed"].endswith("GB")
    monkeypatch.undo()
    huge = replace(resolve_base_model(str(base)), parameters=10**13)
    with pytest.raises(ResourceError) as refused:
        preflight.check_memory(job(tmp_path, base), huge)
    assert refused.value.key == "error.memory.too_small" and refused.value.values["needed"].startswith("4000")


def test_an_architecture_that_the_converter_does_not_know_is_refused(tmp_path):
    base = make_tiny(tmp_path / "base")
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    config |= {"architectures": ["OpenAIGPTLMHeadModel"], "model_type": "openai-gpt"}
    (base / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(BaseModelError) as refused:
        checked(job(tmp_path, base))
    assert refused.value.key == "error.base.not_convertible"


def test_tokens_that_the_embedding_has_no_rows_for_are_refused_before_the_converter_asserts_it(tmp_path):
    folder = make_tiny(tmp_path / "base")
    base = resolve_base_model(str(folder))
    rows, tokens = load_config(base).vocab_size, len(load_tokenizer(base))
    add_tokens(folder, rows - tokens)
    assert set(checked(job(tmp_path, folder))[1].values()) == {"ok"}
    add_tokens(folder, rows - tokens + 1)
    with pytest.raises(BaseModelError) as refused:
        checked(job(tmp_path, folder))
    assert refused.value.key == "error.base_model.too_many_tokens"
    values = {"tokens": rows + 1, "rows": rows, "without": f"<{rows - tokens}>", "source": str(folder)}
    assert refused.value.values == values


def test_added_tokens_that_no_conversation_has_may_be_without_rows_where_llama_cpp_passes_over_them(tmp_path):
    base = make_tiny(tmp_path / "base", "gemma2")
    add_tokens(base, 64)
    assert set(checked(job(tmp_path, base))[1].values()) == {"ok"}


def test_a_gguf_that_only_this_program_does_not_know_is_not_blamed_on_llama_cpp(tmp_path, tiny_gguf):
    base = tmp_path / "base.gguf"
    # transformers reads it, llama.cpp serves it, and from_gguf.py has no row for it
    base.write_bytes(tiny_gguf.read_bytes().replace(b"llama", b"bloom"))
    with pytest.raises(BaseModelError) as refused:
        checked(job(tmp_path, base))
    assert refused.value.key == "error.base.not_mergeable" and "qwen2" in refused.value.values["known"]


def test_a_tokenizer_that_llama_cpp_cuts_otherwise_is_refused(tmp_path):
    base = make_tiny(tmp_path / "base", "llama")
    tokenizer = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["normalizer"] = {"type": "Replace", "pattern": {"String": "嗯"}, "content": "哦"}
    (base / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    with pytest.raises(ConversionError) as refused:
        checked(job(tmp_path, base))
    assert refused.value.key == "error.export.pre_tokenizer"


def test_ollama_gives_memory_back_only_where_the_training_would_lack_it(
    tmp_path: Path, tiny_gguf: Path, ollama_server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = OllamaClient(ollama_server.url)
    digest = hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()
    client.upload(tiny_gguf, digest)
    client.create("chatty", files={"model.gguf": digest}, template="{{ .Prompt }}")
    base = resolve_base_model(str(make_tiny(tmp_path / "base")))
    roomy = detect()
    a_job = replace(job(tmp_path, tmp_path / "base"), client=client)
    heard: list[Event] = []

    def loaded_after(free: int, whose: Job) -> list[str]:
        client.chat("chatty", [{"role": "user", "content": "hi"}], num_predict=1)
        monkeypatch.setattr("lora_trainer.engine.hardware.detect", lambda: replace(roomy, memory_free=free))
        resources.take_memory_back(whose, base, heard.append)
        return client.loaded()

    assert loaded_after(roomy.memory_total, a_job) == ["chatty:latest"] and not heard
    trying = replace(a_job, request=replace(a_job.request, dry_run=True))
    assert loaded_after(1 << 20, trying) == ["chatty:latest"] and not heard
    assert loaded_after(1 << 20, a_job) == []
    (note,) = heard
    assert isinstance(note, Note) and note.values == {"models": "chatty:latest"}
    # one that is gone in between is no reason to fail
    ollama_server.stop()
    resources.take_memory_back(a_job, base, heard.append)
    assert len(heard) == 1
