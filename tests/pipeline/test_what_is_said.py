"""A run's model is known by what it says: at every later export, in Ollama, and where Ollama keeps it otherwise."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lora_trainer.errors import ConversionError, OllamaError
from lora_trainer.events import Event, Note
from ollama_export.gguf.serving_metadata import MARK
from ollama_export.greedy import TOKENS, TOLERANCE
from ollama_export.server.client import OllamaClient
from pipeline.checks.proofs import heard_of
from pipeline.run import likeness
from pipeline.run.history import History, Run
from pipeline.run.published import verify_published
from pipeline.run.standing import look
from tests.ollama_server.server import OllamaServer
from tests.pipeline.test_publishing import notes, prove_again, refused, register


def verified(history: History) -> tuple[list[Note], OllamaError | None]:
    """The notes of a verification, and what it raises."""
    heard: list[Event] = []
    try:
        verify_published(history, "zzhua", heard.append)
    except OllamaError as error:
        return [event for event in heard if isinstance(event, Note)], error
    return [event for event in heard if isinstance(event, Note)], None


def change_what_is_known(run: Run, **by: float) -> None:
    """The record's first token of each prompt has another log-probability or gap."""
    made = run.record["gguf"]
    heard = json.loads(json.dumps(made["greedy"]["q8_0"]))
    for one in heard:
        text, logprob, gap = one["tokens"][0]
        one["tokens"][0] = [text, logprob + by.get("logprob", 0), gap + by.get("gap", 0)]
    run.update(gguf={**made, "greedy": {"q8_0": heard}})


def test_an_export_records_what_the_model_says_for_each_type(run: Run, client: OllamaClient) -> None:
    (first,) = run.record["gguf"]["greedy"].items()
    assert first[0] == "q8_0" and [one["prompt"] for one in first[1]] == [p["prompt"] for p in run.record["proofs"]]
    assert all(0 < len(one["tokens"]) <= TOKENS for one in first[1])
    register(run, client, quantize="f16")
    greedy = run.record["gguf"]["greedy"]
    assert greedy.keys() == {"q8_0", "f16"} and greedy["q8_0"] == first[1]
    assert heard_of(run) == heard_of(run, "F16") != heard_of(run, "Q8_0") and not heard_of(run, "Q4_0")
    register(run, client, quantize="q8_0")
    assert run.record["gguf"]["greedy"] == greedy


def test_a_gguf_that_says_something_else_than_before_is_refused_and_not_kept(
    run: Run,
    client: OllamaClient,
) -> None:
    change_what_is_known(run, logprob=-2 * TOLERANCE)
    prove_again(run)
    error = refused(run, client)
    assert isinstance(error, ConversionError) and error.key == "error.prove.greedy"
    assert (error.values["number"], error.values["at"]) == (1, 1) and "%" in error.values["expected"]
    assert client.tags() == [] and not list(run.folder.glob("*.gguf"))


def test_a_model_that_is_computed_otherwise_is_told_when_it_is_verified(
    run: Run,
    history: History,
    client: OllamaClient,
    each_ollama: OllamaServer,
) -> None:
    register(run, client)
    assert verified(history) == ([], None)
    change_what_is_known(run, gap=3 * TOLERANCE)
    found, error = verified(history)
    assert {note.key for note in found} == {"error.proof.greedy"} and error is not None
    assert error.values["count"] == len(run.record["proofs"])
    # an older one doesn't say how likely a word was
    each_ollama.answers.old = True
    found, error = verified(history)
    assert [note.key for note in found] == ["note.publish.no_render", "note.proof.only_words"] and error is None


def converting(server: OllamaServer) -> None:
    """The server is updated to one that converts, for which our models are in an older layout."""
    server.release = replace(server.release, converts=True, tells_runners=True)
    server.legacy = lambda _: True
    server.stop()
    server.start()


def test_a_model_that_a_later_ollama_converts_is_still_ours(
    run: Run,
    history: History,
    client: OllamaClient,
    each_ollama: OllamaServer,
) -> None:
    register(run, client)
    published, weights = client.digest("zzhua"), client.stored_gguf("zzhua")
    converting(each_ollama)
    client.chat("zzhua", [{"role": "user", "content": "在吗？"}], num_predict=1)
    now = client.digest("zzhua")
    assert now != published and client.stored_gguf("zzhua") != weights
    assert client.show("zzhua")["model_info"][MARK] == run.record["gguf"]["mark"]
    stands = look(history, "zzhua", client).run
    assert stands is not None and stands.number == run.number
    found, error = verified(history)
    assert [note.key for note in found] == ["note.proof.other_form"] and error is None
    # from then on it is known by its digest
    assert now in history.runs("zzhua")[0].digests and verified(history) == ([], None)


def test_without_a_mark_a_converted_model_is_known_by_its_words(
    run: Run,
    history: History,
    client: OllamaClient,
    each_ollama: OllamaServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(likeness, "marked", lambda _: None)  # as of an earlier version
    register(run, client)
    converting(each_ollama)
    client.chat("zzhua", [{"role": "user", "content": "在吗？"}], num_predict=1)
    assert look(history, "zzhua", client).run is not None
    client.create("zzhua", from_="zzhua", system="You are old.")
    assert look(history, "zzhua", client).made_elsewhere
    # an Ollama that converts nothing has no model of ours under other digests
    client.create("zzhua", from_="zzhua", system=run.record["system"])
    each_ollama.release = replace(each_ollama.release, tells_runners=False)
    assert look(history, "zzhua", client).made_elsewhere


def test_the_mark_of_another_run_is_not_ours(
    run: Run, history: History, client: OllamaClient, each_ollama: OllamaServer
) -> None:
    register(run, client)
    converting(each_ollama)
    client.chat("zzhua", [{"role": "user", "content": "在吗？"}], num_predict=1)
    run.update(gguf={**run.record["gguf"], "mark": "0" * 16})
    assert look(history, "zzhua", client).made_elsewhere


@pytest.mark.parametrize("said_alike", [True, False])
def test_one_that_says_something_else_or_has_other_words_is_not(
    run: Run,
    history: History,
    client: OllamaClient,
    each_ollama: OllamaServer,
    said_alike: bool,
) -> None:
    register(run, client)
    converting(each_ollama)
    if said_alike:
        client.create("zzhua", from_="zzhua", system="You are old.")
        client.chat("zzhua", [{"role": "user", "content": "在吗？"}], num_predict=1)
        # its words were changed by hand: the weights are still the run's
        assert look(history, "zzhua", client).run is not None
    else:
        change_what_is_known(run, logprob=-2 * TOLERANCE)
    found, error = verified(history)
    (other,) = [note for note in found if note.key == "error.proof.digest"]
    assert error is not None and other.values["what"] == ("FROM, SYSTEM" if said_alike else "FROM")
    assert ("error.proof.greedy" in {note.key for note in found}) is not said_alike


def test_a_model_that_is_converted_when_it_is_proven_is_published_as_it_is_kept(
    run: Run,
    history: History,
    client: OllamaClient,
    each_ollama: OllamaServer,
) -> None:
    converting(each_ollama)
    assert "note.publish.rewritten" in notes(register(run, client))
    assert run.record["ollama"]["digest"] == client.digest("zzhua")
    assert run.record["ollama"]["gguf"] == client.stored_gguf("zzhua") != run.record["gguf"]["digest"]
    assert verified(history) == ([], None)
