"""From a run's record into Ollama: what was trained is what is proven, registered, and verified later."""

from __future__ import annotations

import hashlib
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.errors import ConversionError, OllamaError, UserError
from lora_trainer.events import Event, Note
from ollama_export.proof import ProofFailed, examine
from ollama_export.publish import Publication
from ollama_export.server.client import OllamaClient
from pipeline import publishing
from pipeline.job import going_on
from pipeline.request import Request
from pipeline.run.history import History, Run
from pipeline.run.published import roll_back, verify_published
from pipeline.stages import run_stages


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer ends: it is cut behind its first token."""
    monkeypatch.setattr(publishing, "ANSWER_TOKENS", 1)
    monkeypatch.setattr(publishing, "Publication", partial(Publication, answer_tokens=1))
    monkeypatch.setitem(examine.__kwdefaults__, "answer_tokens", 1)


def register(run: Run, client: OllamaClient, **flags: Any) -> list[Event]:
    """`--register_only` with some flags; the events."""
    heard: list[Event] = []
    request = Request(ollama_name="zzhua", register_only=True, **flags)
    job = going_on(run, request, History(run.folder.parents[1]), client)
    run_stages(job, None, heard.append, lambda: False)
    return heard


def prove_again(run: Run) -> None:
    run.update(stages={name: facts for name, facts in run.record["stages"].items() if name != "prove"})


def put(client: OllamaClient, run: Run, system: str) -> None:
    """A model of somebody else's under the name."""
    digest = run.record["gguf"]["digest"]
    client.upload(next(run.folder.glob("*.gguf")), digest)
    client.create("zzhua", files={"m.gguf": digest}, system=system)


def notes(heard: list[Event]) -> list[str]:
    return [event.key for event in heard if isinstance(event, Note)]


def refused(run: Run, client: OllamaClient, **flags: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        register(run, client, **flags)
    # it is trained all the same, and what it was published as before is known
    assert run.record["status"] == "done" and run.record["error"]["key"] == caught.value.key
    return caught.value


@pytest.mark.parametrize("more", [-1, 1])
def test_a_gguf_in_which_a_prompt_is_another_number_of_tokens_is_refused(
    run: Run, client: OllamaClient, more: int
) -> None:
    proof = run.record["proofs"][-1]
    proof["tokens"] += more
    prove_again(run)
    error = refused(run, client)
    assert isinstance(error, ConversionError) and error.key == "error.prove.tokens"
    assert (error.values["expected"], error.values["found"]) == (proof["tokens"], proof["tokens"] - more)
    assert client.tags() == []


@pytest.mark.usefixtures("endless")
def test_an_answer_without_an_end_is_told_and_remembered(run: Run, client: OllamaClient) -> None:
    prove_again(run)
    assert notes(register(run, client)) == ["note.prove.no_stop", "error.proof.endless"]
    assert [answer["stopped"] for answer in run.record["answers"]] == [False] * len(run.record["proofs"])
    assert run.record["ollama"]["stops"] is False


def test_a_model_that_ollama_renders_otherwise_is_refused(run: Run, client: OllamaClient) -> None:
    proof = run.record["proofs"][-1]
    proof["prompt"] = proof["prompt"].replace("林栀", "栀林")
    error = refused(run, client)
    assert isinstance(error, ProofFailed) and error.key == "error.proof.rendered"
    assert client.tags() == []


def test_the_bases_own_template_may_render_otherwise_and_it_is_told(run: Run, client: OllamaClient) -> None:
    run.record["keep_chat_template"] = True
    proof = run.record["proofs"][-1]
    proof["prompt"] = proof["prompt"].replace("0", "1")  # as many tokens, which are proven again
    assert "error.proof.rendered" in notes(register(run, client))
    assert verify_published(History(run.folder.parents[1]), "zzhua", lambda _: None)[0].number == run.number
    assert client.exists("zzhua")


def test_what_is_recorded_is_what_is_served(run: Run, client: OllamaClient) -> None:
    register(run, client)
    shown = client.show("zzhua")
    assert shown["system"] == run.record["system"] == "你是林栀。"
    parameters = re.findall(r"^(\S+) +(.*)$", shown["parameters"], re.MULTILINE)
    # every parameter that shapes an answer, since servers differ in what they take for those that aren't there
    usual = [("min_p", "0"), ("repeat_penalty", "1"), ("stop", '"<|im_end|>"'), ("top_k", "40"), ("top_p", "0.9")]
    assert sorted(parameters) == sorted([*usual, ("temperature", "0.3")])
    assert run.record["ollama"]["digest"] == client.digest("zzhua")
    assert not list(run.folder.glob("*.gguf"))


def test_a_type_that_is_asked_for_is_made_here_and_not_by_ollama(run: Run, client: OllamaClient) -> None:
    for file_type in ("q4_K_M", "q5_K_M", "f16"):
        register(run, client, quantize=file_type)
        assert client.show("zzhua")["details"]["quantization_level"] == file_type.upper()
        assert run.record["gguf"]["file_type"] == file_type
        assert client.stored_gguf("zzhua") == run.record["gguf"]["digest"]


def test_a_type_that_ollama_was_to_make_by_an_earlier_version_is_made_here(run: Run, client: OllamaClient) -> None:
    gguf = {**run.record["gguf"], "file_type": "f16", "wanted": "q4_K_M"}
    run.update(quantize="q4_K_M", gguf=gguf)
    register(run, client)
    assert client.show("zzhua")["details"]["quantization_level"] == "Q4_K_M"
    assert client.stored_gguf("zzhua") == run.record["gguf"]["digest"]


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ({}, ["old", "older"]),
        ({"keep_backups": 2}, ["old", "older"]),
        ({"no_backup": True}, ["old", "older"]),
        ({"keep_backups": 0}, []),
    ],
)
def test_models_that_no_record_knows_stay_as_backups_unless_none_is_to_stay(
    run: Run, client: OllamaClient, flags: dict[str, Any], kept: list[str]
) -> None:
    put(client, run, "older")
    client.copy("zzhua", "zzhua:backup-20200101-1")
    put(client, run, "old")
    run.record["overwrite"] = True
    register(run, client, **flags)
    backups = sorted((model["name"] for model in client.tags() if "backup" in model["name"]), reverse=True)
    assert [client.show(name)["system"] for name in backups] == kept
    assert run.record["ollama"]["backup"] == next(iter(backups), None)


def test_verifying_fails_on_another_model_though_it_renders_alike(
    run: Run, history: History, client: OllamaClient
) -> None:
    register(run, client)
    assert verify_published(history, "zzhua", lambda _: None)[0].number == run.number
    client.create("zzhua", from_="zzhua", parameters={"seed": 1})
    heard: list[Event] = []
    with pytest.raises(OllamaError) as caught:
        verify_published(history, "zzhua", heard.append)
    assert (caught.value.key, caught.value.values["count"]) == ("error.verify_failed", 1)
    assert "error.proof.digest" in notes(heard)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"system": "You are old."}, "SYSTEM"),
        ({"parameters": {"temperature": 0.9}}, "PARAMETER"),
        ({"parameters": {"num_ctx": 512}, "license": ["Mine."]}, "PARAMETER, LICENSE"),
        ({"template": "{{ .Prompt }}"}, "TEMPLATE"),
    ],
    ids=str,
)
def test_verifying_says_what_was_changed_by_hand(
    run: Run, history: History, client: OllamaClient, changed: dict[str, Any], what: str
) -> None:
    register(run, client)
    client.create("zzhua", from_="zzhua", **changed)
    heard: list[Event] = []
    with pytest.raises(OllamaError):
        verify_published(history, "zzhua", heard.append)
    (found,) = [event.values for event in heard if isinstance(event, Note) and event.key == "error.proof.digest"]
    assert found["what"] == what


def test_verifying_says_that_the_weights_are_others(
    run: Run, history: History, client: OllamaClient, tiny_gguf: Path
) -> None:
    register(run, client)
    shown = client.show("zzhua")
    digest = hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()
    same = {"template": shown["template"], "system": shown["system"], "parameters": {"temperature": 0.3}}
    client.create_from_file("zzhua", tiny_gguf, digest, **same)
    heard: list[Event] = []
    with pytest.raises(OllamaError):
        verify_published(history, "zzhua", heard.append)
    (found,) = [event.values for event in heard if isinstance(event, Note) and event.key == "error.proof.digest"]
    assert found["what"].startswith("FROM")


def test_verifying_fails_where_ollama_serves_the_same_model_otherwise_by_now(
    run: Run, history: History, client: OllamaClient, request: pytest.FixtureRequest
) -> None:
    register(run, client)
    request.getfixturevalue("endless")
    run.record["proofs"][0]["prompt"] += "!"
    run.update(ollama={**run.record["ollama"], "stops": True})
    heard: list[Event] = []
    with pytest.raises(OllamaError) as caught:
        verify_published(history, "zzhua", heard.append)
    assert (caught.value.key, caught.value.values["count"]) == ("error.verify_failed", 2)
    assert notes(heard) == ["error.proof.rendered", "error.proof.endless"]


def test_a_model_that_is_rolled_back_is_kept_as_a_backup(run: Run, history: History, client: OllamaClient) -> None:
    put(client, run, "old")
    register(run, client)
    done = roll_back(history, "zzhua")
    assert done is not None and done.backup.name == run.record["ollama"]["backup"]
    assert client.show("zzhua")["system"] == "old"
    assert done.kept is not None and client.show(done.kept)["system"] == run.record["system"]
