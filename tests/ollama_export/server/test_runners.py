"""A name that has a model for each of several runners, as Ollama has them since 0.40."""

from __future__ import annotations

from pathlib import Path

import pytest

from ollama_export.gguf.export import GgufFile
from ollama_export.server.client import OllamaClient
from pipeline.run.published import digests_in_ollama
from tests.ollama_server.server import OllamaServer
from tests.support.exports import export
from tests.support.program import Program
from tests.support.tiny import make_speaker


@pytest.fixture
def gguf(tmp_path: Path) -> GgufFile:
    return export(make_speaker(tmp_path / "made"), tmp_path / "base.gguf", file_type="f16")


def test_the_model_that_is_meant_is_the_one_for_llama_cpp(
    tmp_path: Path, gguf: GgufFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OllamaServer(tmp_path / "models", release="0.40") as server:
        client = OllamaClient(server.url)
        client.create_from_file("base", gguf.path, gguf.sha256, system="You are old.")
        alone = client.digest("base")
        server.mlx = {"base:latest"}
        assert [model["digest"] for model in client.tags()] == [alone] and client.digest("base") == alone
        assert client.stored_gguf("base") == gguf.sha256
        assert client.blob_path("base") == server.store.blob_path(f"sha256:{gguf.sha256}")
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        assert digests_in_ollama() == {"base": alone}
        program = Program(tmp_path, server.url, rows=4)
        program.run("--base_model", "ollama:base")
        assert program.newest is not None and program.newest.record["base"]["revision"] == gguf.sha256
