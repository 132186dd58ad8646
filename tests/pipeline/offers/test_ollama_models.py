"""The models in Ollama as base models: ours and the others, and why some can't be trained on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from gguf.constants import MODEL_ARCH_NAMES

from file_formats.gguf import STRING, encode, read_head, write_head
from lora_trainer.errors import OllamaError
from lora_trainer.models.source import _reads_gguf
from ollama_export.server.client import OllamaClient
from ollama_export.server.names import REHEARSAL, is_ours
from pipeline.offers.ollama_models import TRAINABLE, ollama_bases
from pipeline.run.history import History
from tests.ollama_server.server import OllamaServer


@pytest.fixture
def client(ollama_server: OllamaServer) -> OllamaClient:
    return OllamaClient(ollama_server.url)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "runs")


def put(client: OllamaClient, gguf: Path, name: str) -> str:
    client.create_from_file(name, gguf, hashlib.sha256(gguf.read_bytes()).hexdigest())
    digest = client.digest(name)
    assert digest is not None
    return digest


def of_another_architecture(gguf: Path, folder: Path, name: str) -> Path:
    """The same file, said to be another kind of model."""
    head = read_head(gguf)
    old = head.architecture
    metadata = {key.replace(f"{old}.", f"{name}.", 1): value for key, value in head.metadata.items()}
    metadata["general.architecture"] = encode(name, STRING)
    start = min(tensor.offset for tensor in head.tensors)
    path = folder / f"{name}.gguf"
    path.write_bytes(write_head(metadata, head.tensors) + gguf.read_bytes()[start:])
    return path


def test_what_ollama_has_is_told_but_for_our_own_tags(client: OllamaClient, history: History, tiny_gguf: Path) -> None:
    digest = put(client, tiny_gguf, "zzhua")
    for tag in ("zzhua:backup-20260101-1", "zzhua:staging-0123abcd", f"{REHEARSAL}:1-2-3", "someone/other:3b"):
        client.copy("zzhua", tag)
    history.begin("zzhua").update(publications=[{"digest": digest}])
    found = {base.name: base for base in ollama_bases(client, history)}
    assert set(found) == {"zzhua", "someone/other:3b"}
    zzhua = found["zzhua"]
    assert (zzhua.source, zzhua.ours, zzhua.can_be_trained_on) == ("ollama:zzhua", True, True)
    assert zzhua.size >= tiny_gguf.stat().st_size and zzhua.parameters and zzhua.quantization == "F16"


def test_a_kind_that_is_not_read_is_refused_and_comes_last(
    client: OllamaClient, history: History, tiny_gguf: Path, tmp_path: Path
) -> None:
    put(client, tiny_gguf, "good")
    put(client, of_another_architecture(tiny_gguf, tmp_path, "starcoder"), "odd")
    good, odd = ollama_bases(client, history)
    assert (good.name, good.refusal) == ("good", None)
    assert odd.refusal is not None and odd.refusal.key == "error.base_model.gguf_architecture"
    assert odd.refusal.values == {"architecture": "starcoder"}


def test_a_file_that_is_no_gguf_is_refused(client: OllamaClient, history: History, tiny_gguf: Path) -> None:
    put(client, tiny_gguf, "broken")
    with client.blob_path("broken").open("r+b") as file:
        file.write(b"none")
    (base,) = ollama_bases(client, history)
    assert base.refusal is not None and base.refusal.key == "error.base.ollama_no_gguf"


def test_an_ollama_that_does_not_answer_says_so(history: History) -> None:
    with pytest.raises(OllamaError):
        ollama_bases(OllamaClient("127.0.0.1:9"), history)


def test_the_kinds_that_can_be_trained_on_are_those_that_transformers_reads() -> None:
    names = {*MODEL_ARCH_NAMES.values(), *TRAINABLE}
    assert {name for name in names if _reads_gguf(name)} == TRAINABLE


def test_names_that_publishing_makes_are_ours() -> None:
    ours = ("a:backup-20260101-12", "a:7b-backup-20260101-1", "a:staging-0123abcd", f"{REHEARSAL}:x-1-2")
    others = ("a", "a:latest", "a:backup", "a:staging", "backup-20260101-1", "not a name!")
    assert all(map(is_ours, ours)) and not any(map(is_ours, others))
