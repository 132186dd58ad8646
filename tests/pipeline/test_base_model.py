"""The base model of a run is the one that was trained on, however it is found again; and what is said of it is true."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from file_formats.gguf import read_head
from ollama_export.gguf.lora_delta import read_adapter
from ollama_export.server.client import OllamaClient
from tests.ollama_server.server import OllamaServer
from tests.ollama_server.tiny_gguf import make_tiny_gguf
from tests.support.architectures import make
from tests.support.exports import export, tensors
from tests.support.foreign_code import MARK, add_code
from tests.support.hub_server import COMMIT, NEXT, HubServer
from tests.support.program import Program
from tests.support.tiny import make_tiny


@pytest.fixture
def program(tmp_path: Path, ollama_server: OllamaServer) -> Program:
    return Program(tmp_path, ollama_server.url)


@pytest.fixture
def client(ollama_server: OllamaServer) -> OllamaClient:
    return OllamaClient(ollama_server.url)


@pytest.fixture
def made_elsewhere(program: Program, client: OllamaClient, tmp_path: Path) -> bytes:
    """What Ollama has as "zzhua" is the base model itself; its file's content."""
    made = export(program.base, tmp_path / "elsewhere.gguf", file_type="f32")
    client.upload(made.path, made.sha256)
    client.create("zzhua", files={"model.gguf": made.sha256}, system="You are Fern.")
    return client.blob_path("zzhua").read_bytes()


def learnt(folder: Path) -> float:
    """The norm of all that a run's adapter adds to its base model."""
    deltas = read_adapter(folder / "adapter").values()
    return math.sqrt(sum(float((delta.rows(0, delta.shape[0]) ** 2).sum()) for delta in deltas))


def added(base: Path, model: Path) -> float:
    """The norm of what a GGUF in f32 has more than its base."""
    before, after = tensors(base), tensors(model)
    return math.sqrt(sum(float(((after[name].data - before[name].data) ** 2).sum()) for name in before))


def test_a_models_learning_is_added_to_the_base_that_it_was_learnt_on_not_to_itself(
    program: Program, client: OllamaClient, made_elsewhere: bytes, tmp_path: Path
) -> None:
    original = tmp_path / "original.gguf"
    original.write_bytes(made_elsewhere)
    first = program.run("--base_model", "ollama:zzhua", "--continue_train", "--quantize", "f32")
    assert added(original, client.blob_path("zzhua")) == pytest.approx(learnt(Path(first["folder"])), rel=1e-3)
    # its file is gone from the run's folder: it is made again, of a base whose name another model has by now
    again = program.run("--register_only", "--base_model", "ollama:zzhua", "--keep_gguf")
    assert again["gguf"]["digest"] == first["gguf"]["digest"] == client.stored_gguf("zzhua")
    # nor does what is trained on top begin with what was published
    more = program.run("--continue_train", "--epochs", "1.5", "--base_model", "ollama:zzhua")
    revisions = {run.record["base"]["revision"] for run in program.history.runs("zzhua")}
    assert revisions == {hashlib.sha256(made_elsewhere).hexdigest()} and more["run"] == 2


def test_an_ollama_base_that_is_nowhere_any_more_is_not_replaced_by_what_has_its_name(
    program: Program, client: OllamaClient, made_elsewhere: bytes
) -> None:
    told = program.run("--base_model", "ollama:zzhua", "--continue_train")
    stands = client.digest("zzhua")
    client.delete(told["ollama"]["backup"])
    refused = program.run("--register_only", "--quantize", "f16", expect=6)
    assert refused["error"]["key"] == "error.base.gone" and "ollama:zzhua" in refused["error"]["message"]
    assert hashlib.sha256(made_elsewhere).hexdigest()[:12] in refused["error"]["message"]
    assert client.digest("zzhua") == stands
    # a copy under any other name will do
    elsewhere = program.folder / "elsewhere.gguf"
    client.upload(elsewhere, hashlib.sha256(elsewhere.read_bytes()).hexdigest())
    assert program.run("--register_only", "--quantize", "f16")["gguf"]["file_type"] == "f16"


def test_a_model_whose_base_is_gone_is_trained_on_from_what_stands_and_that_is_told(
    program: Program, client: OllamaClient, made_elsewhere: bytes
) -> None:
    told = program.run("--base_model", "ollama:zzhua", "--continue_train", "--learning_rate", "1e-4")
    client.delete(told["ollama"]["backup"])
    stands = client.stored_gguf("zzhua")
    command = ("--ollama_name", "zzhua", "--continue_train", "--add_epochs", "0.5", "--yes")
    told = program.run_bare(*command, "--dry_run")
    assert told["base_model"] == "ollama:zzhua" and told["plan"]["epochs"] == 0.5
    told = program.run_bare(*command)
    run = program.newest
    assert run is not None
    assert (run.number, run.record["base"]["source"], run.record["base"]["revision"]) == (2, "ollama:zzhua", stands)
    # what was learnt before is in these weights: their epochs are counted alone, the other numbers stay
    assert (run.plan.epochs, run.plan.learning_rate) == (0.5, 1e-4)
    assert hashlib.sha256(made_elsewhere).hexdigest()[:12] in told["shown"] and "what stands in Ollama" in told["shown"]
    # by then it is the recorded base, whatever is published over the name
    told = program.run_bare(*command)
    assert "what stands in Ollama" not in told["shown"] and told["plan"]["epochs"] == 1.0
    assert {run.record["base"]["revision"] for run in program.history.runs("zzhua")[1:]} == {stands}


def test_a_folder_that_is_another_model_by_now_is_not_trained_on_again(program: Program, client: OllamaClient) -> None:
    program.run()
    stands = client.stored_gguf("zzhua")
    make_tiny(program.base, seed=1)
    program.run_bare("--ollama_name", "zzhua", "--continue_train", "--add_epochs", "0.5", "--yes")
    run = program.newest
    assert run is not None and run.record["base"]["revision"] == stands
    program.run("--continue_train", "--add_epochs", "0.5")  # --base_model names the folder as it is now
    assert program.newest is not None and program.newest.record["base"]["source"] == str(program.base)


def again(program: Program, *flags: str, **expect: int) -> dict[str, Any]:
    """The trained run's GGUF made once more."""
    for gguf in program.history.home.rglob("*.gguf"):
        gguf.unlink()
    return program.run("--register_only", "--keep_gguf", *flags, **expect)


def test_a_folder_that_is_another_model_by_now_is_refused_by_what_differs(program: Program, tmp_path: Path) -> None:
    told = program.run("--no_register")
    kept = Path(shutil.copytree(program.base, tmp_path / "kept"))
    (program.base / "README.md").write_text("A new card.", encoding="utf-8")
    assert again(program)["gguf"]["digest"] == told["gguf"]["digest"]

    make_tiny(program.base, seed=1)
    refused = again(program, expect=6)
    assert refused["error"]["key"] == "error.base.changed" and "safetensors" in refused["error"]["message"]

    shutil.copytree(kept, program.base, dirs_exist_ok=True)
    config = json.loads((program.base / "tokenizer_config.json").read_text(encoding="utf-8"))
    (program.base / "tokenizer_config.json").write_text(json.dumps({**config, "add_bos_token": True}), encoding="utf-8")
    refused = again(program, expect=6)
    assert refused["error"]["key"] == "error.base.changed" and "tokenizer_config.json" in refused["error"]["message"]

    program.base.rename(tmp_path / "moved")
    refused = again(program, expect=6)
    assert refused["error"]["key"] == "error.base.gone" and str(program.base) in refused["error"]["message"]

    kept.rename(program.base)
    assert again(program)["gguf"]["digest"] == told["gguf"]["digest"]


def test_weights_that_changed_inside_their_file_make_no_other_model_of_the_same_run(program: Program) -> None:
    told = program.run("--no_register")
    weights = program.base / "model.safetensors"
    content = bytearray(weights.read_bytes())
    middle = len(content) // 2 // 4 * 4
    kept = bytes(content[middle : middle + 4096])
    content[middle : middle + 4096] = content[middle + 8192 : middle + 12288]
    weights.write_bytes(content)
    refused = again(program, "--quantize", "f16", expect=8)
    assert refused["error"]["key"] == "error.export.other_weights" and ".weight" in refused["error"]["message"]
    assert not list(program.history.home.rglob("*.gguf"))
    content[middle : middle + 4096] = kept
    weights.write_bytes(content)
    assert again(program)["gguf"]["digest"] == told["gguf"]["digest"]


def test_an_unfinished_run_does_not_go_on_with_another_base_model(program: Program) -> None:
    process = program.start_up_to("StepDone:2", "--no_register")
    process.kill()
    process.wait()
    program.gate.unlink()
    make_tiny(program.base, seed=1)
    refused = program.run("--no_register", "--resume", expect=6)
    assert refused["error"]["key"] == "error.base.changed"
    assert program.run("--no_register", "--restart")["run"] == 2


@pytest.fixture
def hub(program: Program, tmp_path: Path) -> Iterator[HubServer]:
    """A hub that has the base model as acme/tiny."""
    shutil.copytree(program.base, tmp_path / "models" / "acme--tiny")
    del program.environment["HF_HUB_OFFLINE"]
    with HubServer(tmp_path / "models") as server:
        program.environment |= {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hub")}
        yield server


def test_a_hub_model_stays_at_the_commit_that_was_trained_on(program: Program, hub: HubServer, tmp_path: Path) -> None:
    flags = ("--base_model", "acme/tiny")
    told = program.run("--no_register", *flags)
    make_tiny(hub.models / "acme--tiny@NEXT", seed=1)
    shutil.rmtree(tmp_path / "hub")
    assert again(program)["gguf"]["digest"] == told["gguf"]["digest"]
    # what is added goes on from the same weights, too, and needs no hub
    program.run("--no_register", *flags, "--on_exists", "continue", "--add_epochs", "1")
    assert [run.record["base"]["revision"] for run in program.history.runs("zzhua")] == [COMMIT, COMMIT]
    assert program.newest is not None and program.newest.record["began_with"]["run"] == 1
    anew = program.run("--no_register", *flags, "--force")
    assert program.newest.record["base"]["revision"] == NEXT and anew["run"] == 3
    hub.close()
    assert again(program, "--run", "3")["gguf"]["digest"] != told["gguf"]["digest"]


def test_a_relative_path_means_the_same_folder_from_everywhere(program: Program, tmp_path: Path) -> None:
    told = program.run("--no_register", "--base_model", program.base.name)
    assert told["base_model"] == str(program.base)
    program.folder = tmp_path / "elsewhere"
    program.folder.mkdir()
    assert again(program)["gguf"]["digest"] == told["gguf"]["digest"]


def test_a_path_that_is_not_there_is_missing_and_not_looked_up_on_the_hub(program: Program, hub: HubServer) -> None:
    (program.folder / "acme").mkdir()
    refused = program.run("--no_register", "--base_model", "acme/tiny", expect=6)
    assert refused["error"]["key"] == "error.base_model.not_in_folder" and hub.fetched == []


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ("./nowhere", "error.base_model.no_such_path"),
        ("acme/nothing", "error.base_model.not_found"),
        ("ollama:nothing", "error.ollama.model_missing"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_a_dry_run_with_a_base_model_that_does_not_exist_says_so(program: Program, source: str, key: str) -> None:
    refused = program.run("--dry_run", "--base_model", source, expect=5 if "ollama" in source else 6)
    assert refused["error"]["key"] == key


def test_a_dry_run_starts_no_ollama_to_look_for_a_base_model_and_says_that_it_did_not_look(tmp_path: Path) -> None:
    told = Program(tmp_path).run("--dry_run", "--base_model", "ollama:somebody")
    assert (
        told["status"] == "dry_run" and "isn't known whether the base model ollama:somebody is there" in told["shown"]
    )


def test_a_dry_run_looks_at_a_hub_model_and_fetches_none_of_it(
    program: Program, hub: HubServer, tmp_path: Path
) -> None:
    assert program.run("--dry_run", "--base_model", "acme/tiny")["status"] == "dry_run"
    assert "model.safetensors" not in hub.fetched
    assert not list((tmp_path / "hub").rglob("config.json"))


def test_a_model_that_chats_by_the_template_beside_it_is_not_said_to_have_never_learnt_to(
    program: Program, client: OllamaClient, tmp_path: Path
) -> None:
    path = make_tiny_gguf(tmp_path / "silent.gguf", chat_template=None)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    client.upload(path, digest)
    template = "{{ range .Messages }}[{{ .Role }}] {{ .Content }}\n{{ end }}[assistant] "
    client.create("chatty", files={"model.gguf": digest}, template=template)
    client.create("silent", files={"model.gguf": digest})
    for name, key in (("chatty", "error.base.template_only"), ("silent", "error.base_model.no_chat_template")):
        assert program.run("--base_model", f"ollama:{name}", expect=6)["error"]["key"] == key


def test_a_model_stops_at_all_that_its_family_stops_at_and_training_goes_on_all_the_same(
    program: Program, client: OllamaClient
) -> None:
    program.run()
    file = program.base / "generation_config.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    ends = {token: client.show("zzhua")["parameters"].count(token) for token in ("<|im_end|>", "<|endoftext|>")}
    assert ends == {"<|im_end|>": 1, "<|endoftext|>": 0}
    # as Qwen's own has it
    values["eos_token_id"] = [values["eos_token_id"], values["pad_token_id"]]
    file.write_text(json.dumps(values), encoding="utf-8")
    program.run("--continue_train", "--add_epochs", "1")
    # a format that stops at more is no other format to learn
    assert program.newest is not None and program.newest.record["began_with"]["run"] == 1
    shown = client.show("zzhua")["parameters"]
    assert all(f'"{token}"' in shown for token in ends)
    assert read_head(client.blob_path("zzhua")).get("tokenizer.ggml.eot_token_id") == values["pad_token_id"]


@pytest.mark.parametrize("architecture", ["deepseek_v3", "mixtral"])
def test_experts_stay_as_they_are_which_is_told_and_the_rest_learns(
    program: Program, client: OllamaClient, architecture: str
) -> None:
    for file in program.base.iterdir():
        file.unlink()
    make(architecture, program.base)
    told = program.run()
    assert told["status"] == "done" and [model["name"] for model in client.tags()] == ["zzhua:latest"]
    assert "has experts" in told["shown"] and "LoRA on" in told["shown"]
    run = program.newest
    assert run is not None
    adapted = run.record["training"]["adapted"]
    assert "o_proj" in adapted and "gate_proj" not in adapted and sum(adapted.values()) == 2 * len(adapted)


def test_of_a_model_that_sees_the_text_model_is_trained_and_published_and_that_is_told_before(
    program: Program, client: OllamaClient
) -> None:
    for file in program.base.iterdir():
        file.unlink()
    make("gemma3", program.base)
    told = program.run()
    assert told["status"] == "done"
    assert "can't see or hear" in told["shown"].partition("Training zzhua")[0]
    names = [tensor.name for tensor in read_head(client.blob_path("zzhua")).tensors]
    assert names and all(name.startswith(("blk.", "token_embd", "output")) for name in names)


def test_a_folders_own_code_is_named_and_never_run_from_the_checks_to_the_gguf(
    program: Program, tmp_path: Path
) -> None:
    base = add_code(make_tiny(tmp_path / "glm4", "glm4"))
    program.environment |= {MARK: str(tmp_path / "ran"), "HF_HOME": str(tmp_path / "hub")}
    told = program.run("--no_register", "--base_model", str(base))
    assert told["status"] == "done" and Path(told["folder"], "zzhua.gguf").is_file()
    assert "own.py" in told["shown"] and "never run" in told["shown"]
    assert not (tmp_path / "ran").exists()
