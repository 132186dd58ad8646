"""What stands in Ollama: put back what stood before, and hold it against the record."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.chat_format import ChatFormat
from lora_trainer.errors import OllamaError, UsageError
from lora_trainer.events import Event, Note, ignore
from lora_trainer.plan import TrainPlan
from ollama_export.server.client import OllamaClient
from pipeline.run.history import History, Run
from pipeline.run.published import roll_back, verify_published
from pipeline.run.standing import look

CHATML = ChatFormat(
    opening="<|im_start|>system\n",
    opening_without_system="",
    system_place="own",
    system_before="",
    system_after="<|im_end|>\n",
    user_before="<|im_start|>user\n",
    user_after="<|im_end|>\n",
    assistant_before="<|im_start|>assistant\n",
    assistant_after="<|im_end|>\n",
    generation_prompt="<|im_start|>assistant\n",
    end_of_turn="<|im_end|>",
)
QUESTION = [{"role": "user", "content": "在吗？"}]


@pytest.fixture
def client(ollama_server, monkeypatch: pytest.MonkeyPatch) -> OllamaClient:
    monkeypatch.setenv("OLLAMA_HOST", ollama_server.url)
    return OllamaClient()


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "runs")


def put(client: OllamaClient, gguf: Path, system: str, name: str = "zzhua") -> None:
    digest = hashlib.sha256(gguf.read_bytes()).hexdigest()
    client.upload(gguf, digest)
    client.create(name, files={"m.gguf": digest}, system=system, parameters={"num_ctx": 1024})


def published(history: History, client: OllamaClient, **values: Any) -> Run:
    """The record of a run whose model stands under the name now; its answers went on and on."""
    proof = {
        "messages": QUESTION,
        "prompt": client.rendered("zzhua", QUESTION),
        "tokens": client.chat("zzhua", QUESTION, num_predict=1).prompt_tokens,
    }
    ollama = {"digest": client.digest("zzhua"), "gguf": client.stored_gguf("zzhua"), "stops": False}
    given = {"plan": TrainPlan().to_json(), "keep_chat_template": False, "proofs": [proof], "ollama": ollama}
    given |= {"chat_format": CHATML.to_json(), "system": None}
    run = history.begin("zzhua", **{**given, "quantize": "q8_0", "parameters": {}, **values})
    run.mark_done("train", 1)
    entry = {**ollama, "gguf": None, "backup": None, "finished": "2026-01-01", "order": history.next_order("zzhua")}
    run.mark_done("publish", 1, publications=[entry])
    run.update(status="done")
    return run


def test_rolling_back_brings_the_backup_and_its_run_back(
    client: OllamaClient, history: History, tiny_gguf: Path
) -> None:
    put(client, tiny_gguf, "the first")
    first = published(history, client)
    client.copy("zzhua", "zzhua:backup-20260101-1")
    put(client, tiny_gguf, "the second")
    second = published(history, client)
    done = roll_back(history, "zzhua")
    assert done is not None and done.backup.name == "zzhua:backup-20260101-1"
    assert done.kept is not None and client.digest(done.kept) == second.record["ollama"]["digest"]
    assert client.digest("zzhua") == first.record["ollama"]["digest"] != second.record["ollama"]["digest"]
    # by digest where Ollama answers, by what was put there last where it doesn't
    for asked in (client, None):
        stands = look(history, "zzhua", asked).run
        assert stands is not None and stands.number == first.number


def test_a_run_is_brought_back_by_its_number_or_has_to_be_made_again(
    client: OllamaClient, history: History, tiny_gguf: Path
) -> None:
    for number in (1, 2, 3, 4):
        put(client, tiny_gguf, f"model {number}")
        published(history, client)
        if number != 2:
            client.copy("zzhua", f"zzhua:backup-20260101-{number}")
    done = roll_back(history, "zzhua", 1)
    assert done is not None and client.show("zzhua")["system"] == "model 1"
    assert roll_back(history, "zzhua", 2) is None
    assert client.show("zzhua")["system"] == "model 1"
    with pytest.raises(UsageError, match="no_such_run"):
        roll_back(history, "zzhua", 9)


def test_without_a_backup_nothing_is_rolled_back_or_written_down(
    client: OllamaClient, history: History, tiny_gguf: Path
) -> None:
    put(client, tiny_gguf, "the only one")
    run = published(history, client)
    with pytest.raises(OllamaError, match="no_backup"):
        roll_back(history, "zzhua")
    assert client.digest("zzhua") == run.record["ollama"]["digest"]
    assert history.runs("zzhua")[0].publications == run.publications


def verified(history: History) -> tuple[Run | OllamaError, list[tuple[str, dict[str, Any]]]]:
    """What the verification gives or raises, and the notes that it told."""
    events: list[Event] = []
    try:
        found: Run | OllamaError = verify_published(history, "zzhua", events.append)[0]
    except OllamaError as error:
        found = error
    return found, [(event.key, event.values) for event in events if isinstance(event, Note)]


def test_what_was_published_proves_right(client: OllamaClient, history: History, tiny_gguf: Path) -> None:
    put(client, tiny_gguf, "林栀")
    run = published(history, client)
    found, notes = verified(history)
    assert isinstance(found, Run) and found.number == run.number
    # it goes on and on, as it did when it was published
    assert [key for key, _ in notes] == ["error.proof.endless"]


def test_another_model_under_the_name_is_told_and_fails(
    client: OllamaClient, history: History, tiny_gguf: Path
) -> None:
    put(client, tiny_gguf, "林栀")
    run = published(history, client)
    put(client, tiny_gguf, "somebody else, who talks longer")
    found, notes = verified(history)
    assert [key for key, _ in notes[:3]] == ["error.proof.digest", "error.proof.rendered", "error.proof.tokens"]
    assert isinstance(found, OllamaError) and found.key == "error.verify_failed"
    assert found.values == {"name": "zzhua", "count": 3, "number": run.number}


@pytest.mark.parametrize(("own_template", "stops", "fatal"), [(False, False, 1), (True, False, 0), (True, True, 1)])
def test_only_what_the_record_does_not_allow_for_fails(
    client: OllamaClient, history: History, tiny_gguf: Path, own_template: bool, stops: bool, fatal: int
) -> None:
    put(client, tiny_gguf, "林栀")
    run = published(history, client, keep_chat_template=own_template)
    proofs = [{**proof, "prompt": "another prompt"} for proof in run.record["proofs"]]
    run.update(proofs=proofs, ollama={**run.record["ollama"], "stops": stops})
    found, notes = verified(history)
    assert [key for key, _ in notes] == ["error.proof.rendered", "error.proof.endless"]
    assert (found.values["count"] if isinstance(found, OllamaError) else 0) == fatal


@pytest.mark.usefixtures("client")
def test_what_never_reached_ollama_can_not_be_verified(history: History) -> None:
    for stage in ("train", "export"):
        run = history.begin("zzhua")
        run.mark_done(stage, 1)
        run.update(status="done")
    with pytest.raises(UsageError, match="nothing_to_verify"):
        verify_published(history, "zzhua", ignore)
    with pytest.raises(UsageError, match="nothing_to_verify"):
        verify_published(history, "nobody", ignore)
