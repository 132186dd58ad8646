"""The rehearsal in Ollama refuses what the publishing would refuse after an evening's training."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lora_trainer.engine import batching
from lora_trainer.errors import BaseModelError
from lora_trainer.plan import TrainPlan
from ollama_export.gguf import export
from ollama_export.gguf.export import export_gguf
from ollama_export.gguf.lora_delta import read_safetensors
from ollama_export.proof import ProofFailed
from ollama_export.server.client import OllamaClient
from ollama_export.server.names import REHEARSAL
from pipeline.checks import rehearsal
from pipeline.checks.rehearsal import rehearse
from pipeline.serving import serving_in_ollama
from tests.ollama_server.server import OllamaServer
from tests.pipeline.checks.test_preflight import checked, job
from tests.support.tiny import make_tiny


def test_a_base_model_that_ollama_renders_otherwise_is_refused_and_nothing_stays(
    tmp_path: Path, ollama_server: OllamaServer
) -> None:
    here = job(tmp_path, make_tiny(tmp_path / "base"))
    prepared, _ = checked(here)
    assert prepared is not None
    client = OllamaClient(ollama_server.url)
    *others, last = prepared.proofs
    wrong = replace(prepared, proofs=(*others, replace(last, prompt=last.prompt + "!")))
    with pytest.raises(ProofFailed) as refused:
        rehearse(replace(here, client=client), wrong, lambda _: None)
    assert refused.value.key == "error.proof.rendered"
    assert client.tags() == []


def test_a_rehearsal_that_was_killed_is_swept_at_the_next_start_and_no_living_one(
    tmp_path: Path, ollama_server: OllamaServer, tiny_gguf: Path
) -> None:
    client, home = OllamaClient(ollama_server.url), tmp_path / "runs"
    digest = hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()
    client.upload(tiny_gguf, digest)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    alive = {
        f"{REHEARSAL}:{rehearsal._mark(home)}-{os.getppid()}-0a",
        f"{REHEARSAL}:{rehearsal._mark(tmp_path / 'another home')}-{gone.pid}-0a",
        "zzhua:latest",
    }
    killed = f"{REHEARSAL}:{rehearsal._mark(home)}-{gone.pid}-0a"
    for name in (*alive, killed):
        client.create(name, files={"m.gguf": digest})
    rehearsal.sweep(client, home)
    assert {model["name"] for model in client.tags()} == alive


def test_the_tiny_model_learns_for_two_steps_what_the_first_rows_say(tmp_path: Path) -> None:
    here = job(tmp_path, make_tiny(tmp_path / "base"), plan=TrainPlan(lora_rank=3, lora_alpha=5.0))
    prepared, _ = checked(here)
    assert prepared is not None
    seen = {}

    def look(*args: Any, **options: Any) -> Any:
        seen.update(read_safetensors(args[2] / "adapter_model.safetensors"))
        seen["config"] = json.loads((args[2] / "adapter_config.json").read_text(encoding="utf-8"))
        return export_gguf(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "export_gguf", look)
        rehearse(here, prepared, lambda _: None)
    config = seen.pop("config")
    assert (config["r"], config["lora_alpha"]) == (3, 5)
    # the half that begins as zeros has learnt, and with it the other one
    factors = {name.rpartition(".lora_")[2][0] for name, values in seen.items() if np.abs(values).max() > 0}
    assert factors == {"A", "B"} and all(np.abs(values).max() > 0 for values in seen.values())


def test_a_base_model_that_can_not_be_trained_is_refused_before_the_evening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = job(tmp_path, make_tiny(tmp_path / "base"))
    prepared, _ = checked(here)
    assert prepared is not None

    def fails(*_: Any) -> Any:
        raise RuntimeError("one of the variables needed for gradient computation has been modified")

    monkeypatch.setattr(batching, "negative_log_likelihood", fails)
    with pytest.raises(BaseModelError) as refused:
        rehearse(here, prepared, lambda _: None)
    assert refused.value.key == "error.base.not_trainable" and "gradient" in refused.value.values["reason"]


def test_what_is_rehearsed_has_the_type_the_parameters_and_the_words_of_the_real_one(
    tmp_path: Path, ollama_server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = job(tmp_path, make_tiny(tmp_path / "base"))
    prepared, _ = checked(here)
    assert prepared is not None
    before = ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})
    serving = replace(
        prepared.serving,
        quantize="q4_K_M",
        parameters={"num_ctx": 1536, "temperature": 0.1},
        license=("Mine.",),
        messages=before,
    )
    shown = {}
    create = OllamaClient.create_from_file

    def look(self: OllamaClient, name: str, *given: Any, **how: Any) -> None:
        create(self, name, *given, **how)
        shown.update(self.show(name))

    monkeypatch.setattr(OllamaClient, "create_from_file", look)
    client = OllamaClient(ollama_server.url)
    rehearse(replace(here, client=client), replace(prepared, serving=serving), lambda _: None)
    found, _ = serving_in_ollama(shown)
    assert found.parameters == serving.all_parameters(prepared.chat_format.ends)
    assert (found.license, found.messages) == (serving.license, before)
    assert shown["details"]["quantization_level"] == "Q4_K_M" and shown["system"] == prepared.dataset.system
