"""What later releases do otherwise, as the contract has it: runners, conversion at load, log-probabilities."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ollama_server.conversion import BASE_END, CONVERTED, LLAMA_3, is_legacy
from tests.ollama_server.gguf_file import Gguf, read_gguf
from tests.ollama_server.server import OllamaServer
from tests.ollama_server.test_behaviour import GO, Talk


@pytest.fixture
def newest(tmp_path: Path) -> Iterator[OllamaServer]:
    with OllamaServer(tmp_path / "models", release="0.40") as server:
        yield server


def test_one_name_may_have_a_model_for_each_runner(newest: OllamaServer, tiny_gguf: Path) -> None:
    talk = Talk(newest.url)
    talk.create("m", tiny_gguf, template=GO)
    assert talk.post("/api/show", model="m").json()["details"]["runner"] == "llamacpp"
    newest.mlx = {"m:latest"}
    rows = talk.session.get(f"{newest.url}/api/tags", timeout=30).json()["models"]
    assert [(row["name"], row["details"]["runner"]) for row in rows] == [("m:latest", "mlx"), ("m:latest", "llamacpp")]
    assert rows[0]["digest"] != rows[1]["digest"]
    sources = [
        next(
            line
            for line in talk.post("/api/show", model="m", **asked).json()["modelfile"].splitlines()
            if line.startswith("FROM ")
        )
        for asked in ({}, {"runner": "llamacpp"})
    ]
    assert sources[0] == "FROM m:latest" and sources[1].startswith("FROM /")
    refused = [talk.post("/api/show", model="m", runner=runner) for runner in ("cuda", "ggml")]
    assert [(answer.status_code, answer.json()["error"]) for answer in refused] == [
        (400, 'unknown runner "cuda"'),
        (400, "no compatible manifest found for runners: ggml"),
    ]


def test_an_older_one_hears_of_no_runner(ollama_server: OllamaServer, tiny_gguf: Path) -> None:
    talk = Talk(ollama_server.url)
    talk.create("m", tiny_gguf)
    ollama_server.mlx = {"m:latest"}
    shown = talk.post("/api/show", model="m", runner="cuda")
    assert shown.ok and "runner" not in shown.json()["details"] and talk.names() == {"m:latest"}


def test_a_model_in_an_older_layout_is_converted_once_when_it_is_first_loaded(
    newest: OllamaServer, tiny_gguf: Path
) -> None:
    talk, newest.legacy = Talk(newest.url), lambda _: True
    upload = hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()
    for name in ("m", "alias"):
        talk.create(name, tiny_gguf, template=GO, system="S")
    assert talk.stored_digest("m") == upload
    assert talk.post("/api/show", model="m").json()["details"]["runner"] == "ggml"
    said = [talk.chat("m")["message"]["content"] for _ in range(2)]
    digest = talk.stored_digest("m")
    assert digest != upload and said[0] == said[1]
    shown = talk.post("/api/show", model="m").json()
    assert shown["details"]["runner"] == "llamacpp" and (shown["system"], shown["template"]) == ("S", GO)
    converted = read_gguf(newest.store.blob_path(f"sha256:{digest}"))
    assert converted.values[CONVERTED] and len(converted.tensors) == len(read_gguf(tiny_gguf).tensors)
    # the old file goes where no other model has it
    assert newest.store.blob_path(f"sha256:{upload}").exists() and talk.stored_digest("alias") == upload
    assert talk.chat("alias")["message"]["content"] == said[0]
    assert not newest.store.blob_path(f"sha256:{upload}").exists() and talk.stored_digest("alias") == digest


@pytest.mark.parametrize(
    ("architecture", "tokens", "pre", "end", "legacy"),
    [
        ("llama", LLAMA_3, None, 128009, True),
        ("llama", LLAMA_3, "default", 128009, True),
        ("llama", LLAMA_3, "llama-bpe", BASE_END, True),
        ("llama", LLAMA_3, "llama-bpe", 128009, False),
        ("llama", 49152, None, 2, False),
        ("qwen2", 151936, "qwen2", 151645, False),
        ("olmo3", 100278, "dbrx", 100257, True),
    ],
)
def test_which_layouts_are_older(architecture: str, tokens: int, pre: str | None, end: int, legacy: bool) -> None:
    values = {"general.architecture": architecture, "tokenizer.ggml.tokens": ["a"] * tokens}
    values |= {"tokenizer.ggml.eos_token_id": end} | ({"tokenizer.ggml.pre": pre} if pre else {})
    assert is_legacy(Gguf(values=values)) is legacy


def test_log_probabilities_are_told_of_the_text_and_not_of_its_end_and_by_no_older_one(
    tmp_path: Path, tiny_gguf: Path
) -> None:
    for old in (False, True):
        with OllamaServer(tmp_path / f"{old}", old=old) as server:
            talk = Talk(server.url)
            talk.create("m", tiny_gguf, template=GO)
            asked = {"prompt": "hello", "raw": True, "stream": False, "logprobs": True, "top_logprobs": 2}
            answer = talk.post("/api/generate", model="m", options={"temperature": 0, "num_predict": 4}, **asked).json()
            if old:
                assert answer["response"] and "logprobs" not in answer
                continue
            assert "".join(one["token"] for one in answer["logprobs"]) == answer["response"]
            assert all(len(one["top_logprobs"]) == 2 for one in answer["logprobs"])
            assert all(one["logprob"] == one["top_logprobs"][0]["logprob"] for one in answer["logprobs"])
