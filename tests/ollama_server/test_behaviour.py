"""What the recordings don't show and the contract says: the COPY rule, BOS, the choice of template, misfortunes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.ollama_server.gguf_file import read_gguf, write_like_quantize
from tests.ollama_server.server import OllamaServer
from tests.ollama_server.tiny_gguf import CHATML, make_tiny_gguf
from tests.support.exports import export
from tests.support.ollama_fixture import TestOllama
from tests.support.project import ROOT
from tests.support.tiny import make_speaker

GO = "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
HELLO = [{"role": "user", "content": "hello"}]


class Talk:
    """Requests to one server; `statuses` of a create, `chat` unstreamed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False

    def post(self, path: str, **body: Any) -> requests.Response:
        return self.session.post(self.url + path, json=body, timeout=60)

    def upload(self, gguf: Path) -> str:
        content = gguf.read_bytes()
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        answer = self.session.post(f"{self.url}/api/blobs/{digest}", data=content, timeout=60)
        assert answer.status_code in (200, 201)
        return digest

    def create(self, name: str, gguf: Path, **more: Any) -> None:
        answer = self.post("/api/create", model=name, files={"m.gguf": self.upload(gguf)}, stream=False, **more)
        assert answer.json() == {"status": "success"}

    def stored_digest(self, name: str) -> str:
        modelfile = self.post("/api/show", model=name).json()["modelfile"]
        return str(modelfile).partition("sha256-")[2][:64]

    def chat(self, name: str, messages: list[dict[str, str]] = HELLO, **more: Any) -> dict[str, Any]:
        options = {"temperature": 0, "num_predict": 4, **more.pop("options", {})}
        answer = self.post("/api/chat", model=name, messages=messages, stream=False, options=options, **more)
        assert answer.ok, answer.text
        return dict(answer.json())

    def rendered(self, name: str, messages: list[dict[str, str]] = HELLO) -> str:
        return str(self.chat(name, messages, _debug_render_only=True)["_debug_info"]["rendered_template"])

    def names(self) -> set[str]:
        return {model["name"] for model in self.session.get(f"{self.url}/api/tags", timeout=30).json()["models"]}


@pytest.fixture
def talk(ollama: TestOllama) -> Iterator[Talk]:
    found = Talk(ollama.url)
    with found.session:
        yield found


@pytest.fixture
def local(ollama_server: OllamaServer) -> Iterator[Talk]:
    found = Talk(ollama_server.url)
    with found.session:
        yield found


def test_a_gguf_in_the_quantize_tools_order_keeps_its_digest_and_any_other_is_rewritten(
    ollama: TestOllama, talk: Talk, tiny_gguf: Path, tmp_path: Path
) -> None:
    source = read_gguf(tiny_gguf)
    ordered = tmp_path / "ordered.gguf"
    with ordered.open("wb") as out:
        write_like_quantize(source, source.tensors, source.file_type, out)
    name = ollama.name("order")
    talk.create(name, tiny_gguf)
    assert talk.stored_digest(name) != hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()
    assert talk.stored_digest(name) == hashlib.sha256(ordered.read_bytes()).hexdigest()
    talk.create(name, ordered)
    assert talk.stored_digest(name) == hashlib.sha256(ordered.read_bytes()).hexdigest()


@pytest.mark.parametrize("quantize", ["q8_0", "f32", "bf16", "q4_K_M", "Q4_K_S", "q4_k"])
def test_a_quantised_model_answers(ollama: TestOllama, talk: Talk, tiny_gguf: Path, quantize: str) -> None:
    name = ollama.name(f"q-{quantize}")
    talk.create(name, tiny_gguf, quantize=quantize)
    assert talk.chat(name)["eval_count"] > 0


def test_a_bos_in_a_template_is_doubled_where_the_tokenizer_adds_one(
    ollama: TestOllama, talk: Talk, tmp_path: Path
) -> None:
    # SmolLM2's BOS is <|im_start|>, with which this prompt begins.
    counts = []
    for adds in (False, True):
        gguf = make_tiny_gguf(tmp_path / f"bos-{adds}.gguf", add_bos=adds, chat_template=None)
        name = ollama.name(f"bos-{adds}".lower())
        talk.create(name, gguf, template=GO)
        counts.append(talk.chat(name)["prompt_eval_count"])
    assert counts[1] == counts[0] + 1


def test_the_jinja_path_has_one_bos_whoever_writes_it(ollama: TestOllama, talk: Talk, tmp_path: Path) -> None:
    counts = []
    for adds in (False, True):
        jinja = "{# tools #}{{ bos_token }}{{ messages[0]['content'] }}"
        gguf = make_tiny_gguf(tmp_path / f"jinja-{adds}.gguf", add_bos=adds, chat_template=jinja)
        name = ollama.name(f"jinja-{adds}".lower())
        talk.create(name, gguf)
        counts.append(talk.chat(name)["prompt_eval_count"])
    assert counts == [2, 2]


def test_a_jinja_that_mentions_tools_wins_over_the_template(ollama: TestOllama, talk: Talk, tmp_path: Path) -> None:
    name = ollama.name("jinja-wins")
    gguf = make_tiny_gguf(tmp_path / "tools.gguf", chat_template="{# tools #}<jinja>{{ messages[-1]['content'] }}")
    talk.create(name, gguf, template=GO)
    assert talk.rendered(name) == "<jinja>hello"
    assert talk.post("/api/show", model=name).json()["capabilities"] == ["tools", "completion"]
    talk.create(name, make_tiny_gguf(tmp_path / "no-tools.gguf", chat_template="<jinja>"), template=GO)
    assert talk.rendered(name) == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"


def test_an_environment_variable_forces_either_template(
    local: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.create("forced", make_tiny_gguf(tmp_path / "t.gguf", chat_template="{# tools #}<jinja>"), template="<go>")
    monkeypatch.setenv("OLLAMA_GO_TEMPLATE", "1")
    assert local.rendered("forced") == "<go>"
    monkeypatch.setenv("OLLAMA_GO_TEMPLATE", "0")
    assert local.rendered("forced") == "<jinja>"


def test_a_template_of_the_older_style_is_run_turn_by_turn(ollama: TestOllama, talk: Talk, tiny_gguf: Path) -> None:
    name = ollama.name("legacy")
    talk.create(name, tiny_gguf, template="{{ .System }}|{{ .Prompt }}>{{ .Response }}!", system="S")
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert talk.rendered(name, turns) == "S|a>b!|c>"


def test_options_are_honoured(ollama: TestOllama, talk: Talk, tiny_gguf: Path) -> None:
    name = ollama.name("options")
    talk.create(name, tiny_gguf, template=GO)
    long = talk.chat(name, options={"num_predict": 12})
    assert (long["done_reason"], long["eval_count"]) == ("length", 12)
    words = long["message"]["content"]
    stopped = talk.chat(name, options={"num_predict": 12, "stop": [words[5:9]]})
    assert (stopped["done_reason"], stopped["message"]["content"]) == ("stop", words.partition(words[5:9])[0])
    again = [talk.chat(name, options={"temperature": 1, "seed": seed})["message"]["content"] for seed in (1, 1, 2)]
    assert again[0] == again[1] != again[2]


@pytest.mark.parametrize("jinja", [False, True])
def test_an_answer_that_is_no_utf8_is_broken_off_and_one_that_ends_inside_a_character_is_not(
    ollama: TestOllama, talk: Talk, tmp_path: Path, jinja: bool
) -> None:
    letters = json.loads((make_speaker(tmp_path / "any") / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    # as byte-level tokenizers spell the first byte of a character, and one in the middle
    answers = []
    for number, byte in enumerate(("å", "¯")):
        base = make_speaker(tmp_path / f"{number}", says=[letters[letter] for letter in ("a", "b", byte)])
        gguf = export(base, tmp_path / f"{number}.gguf", file_type="f16", chat_template=CHATML).path
        talk.create(ollama.name(f"m{number}"), gguf, **({} if jinja else {"template": GO}))
        answers.append(talk.chat(ollama.name(f"m{number}"), options={"num_predict": 3}))
    begun, broken = answers
    assert begun["message"]["content"] == broken["message"]["content"] == "ab"
    assert (begun["done_reason"], begun["eval_count"]) == ("length", 3)
    assert broken.keys() == {"model", "created_at", "message", "done"} and not broken["done"]


def test_old_turns_are_dropped_where_the_context_is_too_small(ollama: TestOllama, talk: Talk, tiny_gguf: Path) -> None:
    name = ollama.name("small")
    talk.create(name, tiny_gguf, template=GO, system="S", parameters={"num_ctx": 64})
    turns = [
        {"role": role, "content": f"{role} {n} " + "word " * 10} for n in range(4) for role in ("user", "assistant")
    ]
    text = talk.rendered(name, [*turns, {"role": "user", "content": "last"}])
    assert text.startswith("<|im_start|>system\nS<|im_end|>\n")
    assert "user 0" not in text and "last" in text


def test_an_older_ollama_generates_where_it_is_asked_to_render(tmp_path: Path, tiny_gguf: Path) -> None:
    with OllamaServer(tmp_path / "models", old=True) as server:
        talk = Talk(server.url)
        talk.create("m", tiny_gguf, template=GO)
        answer = talk.chat("m", _debug_render_only=True)
    assert answer["done"] and answer["eval_count"] == 4 and "_debug_info" not in answer


def test_layers_are_shared_and_go_with_their_last_model(
    ollama_server: OllamaServer, local: Talk, tiny_gguf: Path
) -> None:
    local.create("a", tiny_gguf, template=GO, system="one")
    weights = ollama_server.store.blob_path("sha256:" + local.stored_digest("a"))
    blobs = {blob.name for blob in ollama_server.store.blobs.iterdir()}
    assert local.post("/api/copy", source="a", destination="a:backup").status_code == 200
    assert {blob.name for blob in ollama_server.store.blobs.iterdir()} == blobs
    local.create("a", tiny_gguf, template=GO, system="two")
    for name in ("a", "a:backup"):
        assert weights.exists()
        assert local.session.delete(f"{local.url}/api/delete", json={"model": name}, timeout=30).status_code == 200
    # The upload itself stays: it was never a layer.
    assert {blob.name for blob in ollama_server.store.blobs.iterdir()} == {
        f"sha256-{hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()}"
    }
    assert not list(ollama_server.store.manifests.iterdir())


def test_a_gguf_of_an_unknown_architecture_or_cut_short_is_refused(
    local: Talk, tiny_gguf: Path, tmp_path: Path
) -> None:
    strange, cut = tmp_path / "strange.gguf", tmp_path / "cut.gguf"
    strange.write_bytes(tiny_gguf.read_bytes().replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0lama9", 1))
    cut.write_bytes(tiny_gguf.read_bytes()[:-1000])
    answers = [
        local.post("/api/create", model="x", files={"m.gguf": local.upload(gguf)}, stream=False)
        for gguf in (strange, cut)
    ]
    assert [answer.status_code for answer in answers] == [500, 500]
    assert "failed to validate GGUF" in answers[0].json()["error"]
    assert "exceeds file size" in answers[1].json()["error"]


def test_a_loaded_model_goes_when_its_time_is_up(local: Talk, tiny_gguf: Path) -> None:
    local.create("m", tiny_gguf, template=GO)
    local.chat("m", keep_alive="10m")
    assert len(local.session.get(f"{local.url}/api/ps", timeout=30).json()["models"]) == 1
    local.chat("m", keep_alive="1s")
    deadline = time.monotonic() + 300
    while local.session.get(f"{local.url}/api/ps", timeout=30).json()["models"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_full_disk_is_told_in_the_answer_and_leaves_nothing(
    ollama_server: OllamaServer, local: Talk, tiny_gguf: Path
) -> None:
    ollama_server.faults.add("full", "/api/blobs", method="POST")
    digest = "sha256:" + hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()
    answer = local.session.post(f"{local.url}/api/blobs/{digest}", data=tiny_gguf.read_bytes(), timeout=30)
    assert (answer.status_code, answer.json()["error"].partition(": ")[2]) == (500, "no space left on device")
    assert not list(ollama_server.store.blobs.iterdir())
    ollama_server.faults.add("full", "/api/create")
    streamed = local.post("/api/create", model="m", files={"m.gguf": local.upload(tiny_gguf)})
    assert streamed.status_code == 200
    assert streamed.text.splitlines()[-1].endswith('no space left on device"}')
    assert local.names() == set()


@pytest.mark.parametrize("kind", ["die", "die_during", "die_after"])
def test_a_server_that_dies_breaks_connections_and_comes_back_with_its_models(
    ollama_server: OllamaServer, local: Talk, tiny_gguf: Path, kind: str
) -> None:
    local.create("m", tiny_gguf, template=GO)
    ollama_server.faults.add(kind, "/api/create", at=2)
    local.create("m2", tiny_gguf)
    with pytest.raises(requests.RequestException):
        local.post("/api/create", model="m3", files={"m.gguf": local.upload(tiny_gguf)})
    assert not ollama_server.alive
    with pytest.raises(requests.ConnectionError):
        local.names()
    ollama_server.start()
    expected = {"m:latest", "m2:latest"}
    assert local.names() == (expected | {"m3:latest"} if kind == "die_after" else expected)
    assert local.chat("m")["done"]


@pytest.mark.parametrize(("kind", "names"), [("error", {"m:latest"}), ("cut", {"m:latest"}), ("lost", set())])
def test_a_request_that_fails_once_is_worked_on_only_where_its_answer_is_lost(
    ollama_server: OllamaServer, local: Talk, tiny_gguf: Path, kind: str, names: set[str]
) -> None:
    local.create("m", tiny_gguf)
    ollama_server.faults.add(kind, "/api/delete")
    if kind == "error":
        answer = local.session.delete(f"{local.url}/api/delete", json={"model": "m"}, timeout=30)
        assert (answer.status_code, answer.json()) == (500, {"error": "something went wrong"})
    else:
        with pytest.raises(requests.ConnectionError):
            local.session.delete(f"{local.url}/api/delete", json={"model": "m"}, timeout=30)
    assert local.names() == names
    assert ollama_server.alive


def test_started_by_hand_it_dies_on_command_and_keeps_its_models(tmp_path: Path, tiny_gguf: Path) -> None:
    def started(*more: str) -> tuple[subprocess.Popen[str], Talk]:
        command = [sys.executable, "-m", "tests.ollama_server", "--port", "0", "--models", str(tmp_path / "models")]
        root = ROOT
        process = subprocess.Popen(
            [*command, *more], stdout=subprocess.PIPE, encoding="utf-8", cwd=root, env={**os.environ, "PYTHONUTF8": "1"}
        )
        assert process.stdout is not None
        return process, Talk(process.stdout.readline().strip())

    process, talk = started("--fault", "die:/api/copy")
    talk.create("m", tiny_gguf, template=GO)
    with pytest.raises(requests.ConnectionError):
        talk.post("/api/copy", source="m", destination="n")
    assert process.wait(300) == 137
    process, talk = started()
    try:
        assert talk.names() == {"m:latest"}
        assert talk.rendered("m").endswith("<|im_start|>assistant\n")
    finally:
        process.kill()
        process.wait()


def test_an_autodetected_template_needs_a_near_relative(local: Talk, tmp_path: Path) -> None:
    near, far = CHATML.replace("<|im_end|>", "<|end|>"), "{{ messages }}" * 20
    for number, jinja in enumerate((near, far)):
        local.create(f"m{number}", make_tiny_gguf(tmp_path / f"{number}.gguf", chat_template=jinja))
    shown = [local.post("/api/show", model=f"m{number}").json() for number in (0, 1)]
    assert shown[0]["parameters"].count("stop") == 2
    assert "parameters" not in shown[1] and shown[1]["template"] == far
