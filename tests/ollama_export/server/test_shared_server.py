"""Several processes on one Ollama: layers belong to all models that have them, and go with the last one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from ollama_export.gguf.export import GgufFile
from ollama_export.server.client import OllamaClient
from ollama_export.server.transport import Refused
from tests.ollama_server.server import OllamaServer
from tests.support.exports import export
from tests.support.ollama_fixture import TestOllama
from tests.support.tiny import make_speaker


@pytest.fixture
def gguf(tmp_path: Path) -> GgufFile:
    return export(make_speaker(tmp_path / "base"), tmp_path / "模型 model.gguf", file_type="f16")


class Disturbed(OllamaClient):
    """Before each of its creates but those from `quiet_from` on, another process deletes its model of the same file."""

    def __init__(self, ollama: TestOllama, gguf: GgufFile, quiet_from: int) -> None:
        super().__init__(ollama.url)
        self.other, self.gguf, self.quiet_from = ollama.name("other"), gguf, quiet_from
        self.creates = 0

    def create(self, name: str, **how: Any) -> None:
        self.creates += 1
        if self.creates < self.quiet_from:
            super().create(self.other, files={"model.gguf": self.gguf.sha256})
            self.delete(self.other)
        super().create(name, **how)


def test_a_file_that_goes_with_another_model_before_it_is_used_is_uploaded_again(
    ollama: TestOllama, gguf: GgufFile
) -> None:
    client, name = Disturbed(ollama, gguf, quiet_from=3), ollama.name("mine")
    sent: list[int] = []
    client.create_from_file(name, gguf.path, gguf.sha256, progress=lambda done, _: sent.append(done), system="S")
    assert (client.creates, sent.count(gguf.path.stat().st_size)) == (3, 3)
    assert (client.stored_gguf(name), client.show(name)["system"]) == (gguf.sha256, "S")


def test_a_model_that_loses_a_layer_while_it_is_made_is_made_again(ollama_server: OllamaServer, gguf: GgufFile) -> None:
    shown = []

    class LayerLost(OllamaClient):
        def show(self, name: str) -> dict[str, Any]:
            if not shown:
                system = hashlib.sha256(b"S").hexdigest()
                ollama_server.store.blob_path(f"sha256:{system}").unlink()
            shown.append(name)
            return super().show(name)

    LayerLost(ollama_server.url).create_from_file("mine", gguf.path, gguf.sha256, system="S")
    assert shown == ["mine", "mine"] and OllamaClient(ollama_server.url).show("mine")["system"] == "S"


def test_a_file_that_goes_each_time_is_an_error_in_the_end(ollama: TestOllama, gguf: GgufFile) -> None:
    client = Disturbed(ollama, gguf, quiet_from=9)
    with pytest.raises(Refused) as refused:
        client.create_from_file(ollama.name("mine"), gguf.path, gguf.sha256)
    assert gguf.sha256 in refused.value.values["message"] and client.creates == 3


def test_another_refusal_is_told_at_once(ollama: TestOllama, gguf: GgufFile) -> None:
    client = Disturbed(ollama, gguf, quiet_from=0)
    with pytest.raises(Refused) as refused:
        client.create_from_file(ollama.name("mine"), gguf.path, gguf.sha256, template="{{ if }}")
    assert "template error" in refused.value.values["message"] and client.creates == 1


def test_a_name_that_another_delete_takes_in_the_same_moment_is_gone(
    ollama_server: OllamaServer, gguf: GgufFile
) -> None:
    client = OllamaClient(ollama_server.url)
    for missing_ok in (True, False):
        client.create_from_file("mine", gguf.path, gguf.sha256)
        ollama_server.faults.add("raced", "/api/delete")
        if missing_ok:
            assert client.delete("mine", missing_ok=True) is False
        else:
            with pytest.raises(Refused, match="no such file"):
                client.delete("mine")
        assert not client.exists("mine")
    ollama_server.faults.add("error", "/api/delete")
    client.create_from_file("mine", gguf.path, gguf.sha256)
    with pytest.raises(Refused):
        client.delete("mine", missing_ok=True)
