"""The rehearsal in Ollama refuses what the publishing would refuse after an evening's training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ollama_export.proof import ProofFailed
from ollama_export.server.client import OllamaClient
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
