"""The rehearsal in Ollama refuses what the publishing would refuse after an evening's training."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ollama_export.proof import ProofFailed
from ollama_export.server.client import OllamaClient
from pipeline.checks import rehearsal
from pipeline.checks.rehearsal import rehearse
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
        f"{rehearsal._MODEL}:{rehearsal._mark(home)}-{os.getppid()}-0a",
        f"{rehearsal._MODEL}:{rehearsal._mark(tmp_path / 'another home')}-{gone.pid}-0a",
        "zzhua:latest",
    }
    killed = f"{rehearsal._MODEL}:{rehearsal._mark(home)}-{gone.pid}-0a"
    for name in (*alive, killed):
        client.create(name, files={"m.gguf": digest})
    rehearsal.sweep(client, home)
    assert {model["name"] for model in client.tags()} == alive
