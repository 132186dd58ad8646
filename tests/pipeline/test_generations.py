"""Whole runs against each line of Ollama's releases: what those differ in, the user needn't know."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_trainer.models.source import resolve_base_model
from lora_trainer.models.tiny import make_tiny_model
from ollama_export.server.client import OllamaClient
from tests.ollama_server.server import OllamaServer
from tests.support.exports import export
from tests.support.program import Program
from tests.support.tiny import make_speaker

QUESTION = [{"role": "user", "content": "train 第0问：在干嘛？"}]


@pytest.fixture
def program(tmp_path: Path, each_ollama: OllamaServer) -> Program:
    return Program(tmp_path, each_ollama.url, rows=4)


@pytest.fixture
def client(each_ollama: OllamaServer) -> OllamaClient:
    return OllamaClient(each_ollama.url)


@pytest.mark.parametrize("file_type", ["q4_K_M", "q3_K_M"])
def test_from_dialogues_to_an_answer_in_k_quants_from_a_folder(
    program: Program, client: OllamaClient, file_type: str
) -> None:
    told = program.run("--quantize", file_type)
    assert told["gguf"]["file_type"] == file_type and told["ollama"]["stops"]
    assert client.show("zzhua")["details"]["quantization_level"] == file_type.upper()
    assert client.chat("zzhua", QUESTION, num_predict=64, temperature=0).text.strip()
    assert not list(program.history.home.rglob("*.gguf"))
    assert program.run_bare("--ollama_name", "zzhua", "--verify")["verified"]


def test_a_type_that_is_not_written_is_refused_at_once_and_never_asked_of_ollama(
    program: Program, each_ollama: OllamaServer
) -> None:
    for more in ((), ("--dry_run",), ("--register_only",)):
        assert "q4_K_M" in program.run("--quantize", "q2_K", *more, expect=2)["shown"]
    assert program.newest is None and each_ollama.requests == []


def test_an_answer_that_repeats_itself_is_a_note_and_no_failure_and_is_remembered(
    program: Program, tmp_path: Path
) -> None:
    parrot = make_tiny_model(resolve_base_model(str(program.base)), tmp_path / "parrot")
    assert parrot is not None
    program.base = parrot.path
    told = program.run("--learning_rate", "1e-7")
    assert told["ollama"]["stops"] is False and "epochs" in told["shown"]
    verified = program.run_bare("--ollama_name", "zzhua", "--verify")
    assert verified["verified"] and verified["stops"] is False
    assert "answers and stops" not in verified["shown"]


def test_a_model_whose_answers_are_no_text_is_published_and_what_was_not_seen_is_said(
    program: Program, client: OllamaClient
) -> None:
    shutil.rmtree(program.base)
    letters = json.loads((make_speaker(program.folder / "any") / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    # the second is a byte in the middle of a character, as byte-level tokenizers spell it
    make_speaker(program.base, says=[letters[letter] for letter in ("a", "¯", "b")])
    told = program.run("--learning_rate", "1e-7")
    assert told["ollama"]["stops"] is False and client.exists("zzhua")
    assert not program.run_bare("--ollama_name", "zzhua", "--verify")["stops"]


def test_weights_that_were_changed_by_hand_are_named_when_the_model_is_verified(
    program: Program, client: OllamaClient, tmp_path: Path
) -> None:
    program.run("--quantize", "f16")
    assert program.run_bare("--ollama_name", "zzhua", "--verify")["verified"]
    other = export(make_speaker(tmp_path / "other", seed=3), tmp_path / "other.gguf", file_type="f16")
    shown = client.show("zzhua")
    parameters = {"temperature": 0.7, "top_p": 0.9, "top_k": 40, "min_p": 0.0, "repeat_penalty": 1.0}
    words = {"template": shown["template"], "system": shown["system"]}
    parameters |= {"stop": ["<|im_end|>"]}
    client.create_from_file("zzhua", other.path, other.sha256, parameters=parameters, **words)
    told = program.run_bare("--ollama_name", "zzhua", "--verify", expect=5)
    assert "what differs: FROM." in told["shown"] and "exported:" in told["shown"]
    assert client.stored_gguf("zzhua") == other.sha256, "nothing is changed by looking"


@pytest.fixture
def converting(tmp_path: Path) -> Iterator[OllamaServer]:
    """A later Ollama, for which our models are in a layout of older ones."""
    with OllamaServer(tmp_path / "converting", release="0.40") as server:
        server.legacy = lambda _: True
        yield server


@pytest.mark.parametrize("takes", [0, 1, 7], ids=lambda takes: f"conversion takes {takes} answers")
def test_a_model_that_ollama_converts_when_it_is_loaded_is_published_and_stays_the_same(
    tmp_path: Path, trained: Path, converting: OllamaServer, takes: int
) -> None:
    converting.conversion_takes = takes
    program, client = Program(tmp_path, converting.url, rows=4), OllamaClient(converting.url)
    shutil.copytree(trained, program.history.home)
    told = program.run_bare("--ollama_name", "zzhua", "--register_only")
    assert told["status"] == "done"
    for _ in range(3):
        assert program.run_bare("--ollama_name", "zzhua", "--verify")["verified"]
    assert program.newest is not None
    exported = program.newest.record["gguf"]["digest"]
    assert client.stored_gguf("zzhua") != exported and client.digest("zzhua") in program.newest.digests
    quiet = program.run_bare("--ollama_name", "zzhua", "--verify")
    assert "another form" not in quiet["shown"]
    # other weights are others, converted or not
    other = export(make_speaker(tmp_path / "other", seed=3), tmp_path / "other.gguf", file_type="q8_0")
    shown = client.show("zzhua")
    parameters = {"temperature": 0.3, "top_p": 0.9, "top_k": 40, "min_p": 0.0, "repeat_penalty": 1.0}
    parameters |= {"stop": ["<|im_end|>"]}
    words = {"template": shown["template"], "system": shown["system"]}
    client.create_from_file("zzhua", other.path, other.sha256, parameters=parameters, **words)
    told = program.run_bare("--ollama_name", "zzhua", "--verify", expect=5)
    assert "what differs: FROM." in told["shown"] and "exported:" in told["shown"]


def test_a_delta_that_is_merged_twice_is_refused_at_the_export(program: Program, client: OllamaClient) -> None:
    told = program.run()
    run = program.newest
    assert run is not None
    path = run.folder / "adapter" / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "lora_alpha": 2 * config["lora_alpha"]}), encoding="utf-8")
    refused = program.run_bare("--ollama_name", "zzhua", "--register_only", "--temperature", "0.5", expect=8)
    assert refused["error"]["key"] == "error.export.other_weights"
    assert client.digest("zzhua") == told["ollama"]["digest"]
