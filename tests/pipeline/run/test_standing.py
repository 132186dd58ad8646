"""Which run stands is known by digest; times, numbers and statuses decide nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from lora_trainer.errors import UsageError
from lora_trainer.events import Event, Note
from lora_trainer.plan import TrainPlan
from ollama_export.server.client import OllamaClient
from pipeline.request import Request
from pipeline.run.history import History, Run
from pipeline.run.standing import (
    last_published,
    look,
    other_rungs,
    run_to_continue,
    run_to_go_on,
    run_to_register,
    rungs_below,
    rungs_of_climb,
    unfinished,
)
from tests.ollama_server.server import OllamaServer


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "家 home")


@pytest.fixture
def client(ollama_server: OllamaServer) -> OllamaClient:
    return OllamaClient(ollama_server.url)


def trained(history: History, *digests: str, status: str = "done", **values: Any) -> Run:
    """A trained run that was published under these manifests' digests."""
    run = history.begin("zzhua", **{"plan": TrainPlan().to_json(), "request": {}, **values})
    run.mark_done("train", 1)
    publications = [
        {"digest": digest, "gguf": None, "order": history.next_order("zzhua") + number, "finished": "2026-01-01"}
        for number, digest in enumerate(digests)
    ]
    run.update(status=status, publications=publications)
    return run


def put(client: OllamaClient, gguf: Path, name: str, system: str) -> str:
    """A model in Ollama; its manifest's digest."""
    import hashlib

    digest = hashlib.sha256(gguf.read_bytes()).hexdigest()
    client.upload(gguf, digest)
    client.create(name, files={"m.gguf": digest}, template="{{ .Prompt }}", system=system)
    found = client.digest(name)
    assert found is not None
    return found


def test_the_run_that_stands_is_the_one_of_its_digest(history: History, client: OllamaClient, tiny_gguf: Path) -> None:
    one, two = (put(client, tiny_gguf, name, system) for name, system in (("zzhua", "1"), ("zzhua:old", "2")))
    trained(history, two)
    trained(history, one)
    trained(history, "another digest")
    trained(history, status="failed")
    stands = look(history, "zzhua", client)
    assert stands.run is not None and (stands.in_ollama, stands.run.number) == (True, 2)
    client.copy("zzhua:old", "zzhua")
    again = look(history, "zzhua", client).run
    assert again is not None and again.number == 1


def test_a_model_made_elsewhere_is_no_runs_even_where_there_are_runs(
    history: History, client: OllamaClient, tiny_gguf: Path
) -> None:
    trained(history, "a digest that nobody has any more")
    put(client, tiny_gguf, "zzhua", "by hand")
    stands = look(history, "zzhua", client)
    assert stands.made_elsewhere and stands.run is None


def test_a_runs_model_whose_words_were_changed_by_hand_is_still_its(
    history: History, client: OllamaClient, tiny_gguf: Path
) -> None:
    put(client, tiny_gguf, "zzhua", "1")
    run = trained(history, "as it was published")
    run.update(gguf={"digest": client.stored_gguf("zzhua")})
    assert look(history, "zzhua", client).run is not None


def test_without_ollama_it_is_the_one_published_last_whatever_the_clock_says(history: History) -> None:
    trained(history, "a", "c")
    run = trained(history, "b")
    run.update(publications=[{**run.publications[0], "order": 2, "finished": "2036-01-01"}])
    first = history.runs("zzhua")[0]
    first.update(
        publications=[{**entry, "order": order} for entry, order in zip(first.publications, (1, 3), strict=True)]
    )
    trained(history)
    for client in (None, OllamaClient("127.0.0.1:9")):
        stands = look(history, "zzhua", client)
        assert stands.run is not None and (stands.in_ollama, stands.run.number) == (None, 1)
    assert not stands.made_elsewhere


def test_of_a_name_that_was_never_published_it_is_the_newest_that_is_done(history: History) -> None:
    assert last_published(history, "zzhua") is None
    trained(history)
    trained(history)
    trained(history, status="failed")
    found = last_published(history, "zzhua")
    assert found is not None and found.number == 2


def test_registering_again_is_about_the_run_that_stands(
    history: History, client: OllamaClient, tiny_gguf: Path
) -> None:
    digest = put(client, tiny_gguf, "zzhua", "1")
    trained(history, digest)
    trained(history, "rejected")
    assert run_to_register(history, Request(), "zzhua", client).number == 1
    assert run_to_register(history, Request(register_only=True, run=2), "zzhua", client).number == 2
    # what was trained and couldn't be registered waits for it
    trained(history, status="failed")
    assert run_to_register(history, Request(), "zzhua", client).number == 3
    with pytest.raises(UsageError, match="no_such_run"):
        run_to_register(history, Request(register_only=True, run=7), "zzhua", client)


@pytest.mark.parametrize(
    ("flags", "goes_on"),
    [
        ({}, True),
        ({"temperature": 0.5}, True),
        ({"quantize": "f16", "num_ctx": 4096, "keep_chat_template": True}, True),
        ({"ollama_name": "ZZHUA", "yes": True, "json": True, "lang": "en", "debug": True}, True),
        ({"no_register": True, "no_backup": True, "keep_gguf": True, "llama_cpp": Path("x")}, True),
        ({"data_dir": Path("x"), "base_model": "x/y"}, True),
        ({"on_exists": "overwrite"}, True),
        ({"on_exists": "continue"}, False),
        ({"learning_rate": 1e-4}, False),
        ({"lora_rank": 4}, False),
        ({"system": "x"}, False),
        ({"no_system": True}, False),
        ({"seed": 1}, False),
        ({"qlora": True}, False),
        ({"restart": True}, False),
    ],
)
def test_what_is_served_or_told_otherwise_is_the_same_training(
    history: History, flags: dict[str, Any], goes_on: bool
) -> None:
    trained(history, status="failed", request={"epochs": 3.0}, strategy=None)
    asked = Request(**{"ollama_name": "zzhua", "epochs": 3.0, **flags})
    assert (unfinished(history, asked, "zzhua") is not None) is goes_on


@pytest.mark.parametrize(
    ("flags", "goes_on"),
    [({"on_exists": "continue"}, True), ({"on_exists": "overwrite"}, False), ({"force": True}, False), ({}, True)],
)
def test_what_was_begun_as_a_continuation_is_not_gone_on_with_by_overwriting(
    history: History, flags: dict[str, Any], goes_on: bool
) -> None:
    trained(history, status="failed", request={"epochs": 3.0}, strategy="custom")
    asked = Request(ollama_name="zzhua", epochs=3.0, **flags)
    assert (unfinished(history, asked, "zzhua") is not None) is goes_on


def test_resuming_with_flags_that_would_train_otherwise_names_them(history: History) -> None:
    trained(history, status="failed", request={"epochs": 3.0}, strategy=None)
    assert unfinished(history, Request(resume=True), "zzhua") is not None
    assert unfinished(history, Request(resume=True, epochs=3.0), "zzhua") is not None
    with pytest.raises(UsageError) as refused:
        unfinished(history, Request(resume=True, epochs=4.0, lora_rank=4), "zzhua")
    assert refused.value.key == "error.resume_differs"
    assert refused.value.values["flags"] == "--epochs, --lora_rank"


def test_a_request_of_an_older_record_is_compared_by_what_trains(history: History) -> None:
    old = {"ollama_name": "zzhua", "data_dir": "/x/data", "epochs": 3.0, "temperature": 0.6, "on_exists": "overwrite"}
    trained(history, status="failed", request=old, strategy=None)
    assert unfinished(history, Request(ollama_name="zzhua", epochs=3.0), "zzhua") is not None
    assert unfinished(history, Request(ollama_name="zzhua", epochs=4.0), "zzhua") is None


ASKED = Request(ollama_name="zzhua", epochs=3.0)


@dataclass
class Read:
    """The dialogues that a request names, as far as they are looked at here."""

    fingerprint: str


@pytest.fixture
def runs(tmp_path):
    return History(tmp_path / "家 home")


def begin(runs, request: Request | None = None, **values: Any):
    return runs.begin("zzhua", plan=TrainPlan().to_json(), request=request.identity if request else {}, **values)


def train(run: Run) -> None:
    """As if the run were trained: its journal says so, and there is an adapter that can be read."""
    adapter = run.folder / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}", encoding="utf-8")
    save_file({"lora_A": np.zeros((1, 1), np.float32)}, adapter / "adapter_model.safetensors")
    run.mark_done("train", 1)


def test_rows_that_came_after_a_training_begin_a_new_one_unless_it_is_resumed(runs):
    train(begin(runs, ASKED, data={"fingerprint": "dialogues"}))
    assert going_on(runs, ASKED, "others") == (None, [Note("note.data_changed")])
    pending, told = going_on(runs, ASKED)
    assert (pending.run.number, pending.data, told) == (1, None, [])
    pending, _ = going_on(runs, Request(ollama_name="zzhua", resume=True), "others")
    assert pending.run.number == 1


def test_a_run_that_waits_goes_on_by_the_same_request_and_is_never_trained_again(runs):
    run = begin(runs, ASKED, data={"fingerprint": "dialogues"})
    train(run)
    run.update(status="waiting")
    for request in (ASKED, Request(ollama_name="zzhua", resume=True)):
        pending, _ = going_on(runs, request)
        assert (pending.run.number, pending.data) == (1, None)
    # another request is another training, and what was declined since is no reason to forget it
    assert unfinished(runs, Request(ollama_name="zzhua", epochs=9.0), "zzhua") is None
    begin(runs, Request(ollama_name="zzhua", epochs=9.0)).update(status="declined")
    assert unfinished(runs, ASKED, "zzhua").number == 1
    begin(runs, Request(ollama_name="zzhua", epochs=9.0)).update(status="done")
    assert unfinished(runs, ASKED, "zzhua") is None


def test_what_was_declined_is_never_unfinished_nor_taken_for_what_stands(runs):
    train(begin(runs, ASKED))
    runs.runs("zzhua")[0].update(status="done")
    run = begin(runs, ASKED)
    train(run)
    run.update(status="declined")
    assert unfinished(runs, ASKED, "zzhua") is None
    assert unfinished(runs, Request(ollama_name="zzhua", resume=True), "zzhua") is None
    assert last_published(runs, "zzhua").number == 1


def test_registering_takes_what_waits_before_what_stands_and_what_was_declined_by_its_number(runs):
    for status in ("done", "waiting"):
        run = begin(runs, ASKED)
        train(run)
        run.update(status=status)
    assert run_to_register(runs, Request(register_only=True), "zzhua", None).number == 2
    run.update(status="declined")
    assert run_to_register(runs, Request(register_only=True), "zzhua", None).number == 1
    assert run_to_register(runs, Request(register_only=True, run=2), "zzhua", None).number == 2
    # nothing else was ever trained
    runs.runs("zzhua")[0].update(status="failed", stages={})
    assert run_to_register(runs, Request(register_only=True), "zzhua", None).number == 2


@pytest.mark.parametrize(("number", "why"), [(7, "error.no_such_run"), (1, "error.run_not_trained")])
def test_what_is_not_trained_can_not_be_continued(runs, number, why):
    begin(runs)
    train(begin(runs))
    assert run_to_continue(runs, Request(from_run=2), "zzhua").number == 2
    with pytest.raises(UsageError) as refused:
        run_to_continue(runs, Request(from_run=number), "zzhua")
    assert refused.value.key == why


def test_of_a_ladder_that_waits_nothing_is_climbed_again(runs):
    asked = Request(ollama_name="zzhua", ladder="1,2,3")
    rungs = [begin_rung(runs, asked, epochs) for epochs in (1.0, 2.0, 3.0)]
    pending, _ = going_on(runs, asked)
    assert pending.data is not None  # the rung to be published isn't chosen yet
    rungs[1].update(status="waiting")
    assert [rung.number for rung in other_rungs(runs, rungs[1])] == [1, 3]
    for other in (rungs[0], rungs[2]):
        other.update(status="declined")
    pending, _ = going_on(runs, asked)
    assert (pending.run.number, pending.data) == (2, None)
    # what is published is a rung as well, for whoever looks back from a longer one
    assert [rung.number for rung in rungs_below(runs, rungs[1])] == [1]
    rungs[1].update(publications=[{"server": "there"}])
    assert [rung.number for rung in rungs_below(runs, rungs[2])] == [1, 2]
    assert [rung.number for rung in other_rungs(runs, rungs[2])] == [1]
    rungs[1].update(publications=[])
    # once it is over, the same request climbs anew, on rungs of its own
    rungs[1].update(status="done")
    again = begin_rung(runs, asked, 1.0)
    assert other_rungs(runs, again) == [] and [run.number for run in rungs_of_climb(runs, asked, "zzhua")] == [4]


def begin_rung(runs, request: Request, epochs: float) -> Run:
    run = runs.begin(
        "zzhua", plan=TrainPlan(epochs=epochs).to_json(), request=request.identity, data={"fingerprint": "dialogues"}
    )
    train(run)
    run.update(status="trained")
    return run


@pytest.mark.parametrize(("before", "now"), [({"no_register": True}, {}), ({}, {"no_register": True})])
def test_a_run_goes_on_whether_or_not_it_is_registered_in_the_end(runs, before, now):
    begin(runs, Request(ollama_name="zzhua", **before))
    assert unfinished(runs, Request(ollama_name="zzhua", **now), "zzhua").number == 1


def test_only_the_newest_run_goes_on(runs):
    begin(runs, ASKED).update(status="interrupted")
    begin(runs, Request(ollama_name="zzhua", epochs=9.0)).update(status="done")
    assert unfinished(runs, ASKED, "zzhua") is None
    assert unfinished(runs, Request(resume=True), "zzhua") is None


@pytest.mark.parametrize(
    ("flags", "why"),
    [({}, "error.nothing_to_register"), ({"run": 1}, "error.run_not_trained"), ({"run": 7}, "error.no_such_run")],
)
def test_what_is_not_trained_can_not_be_registered(runs, flags, why):
    begin(runs)
    with pytest.raises(UsageError) as refused:
        run_to_register(runs, Request(register_only=True, **flags), "zzhua", None)
    assert refused.value.key == why


def going_on(runs, request: Request, fingerprint: str = "dialogues"):
    """What `run_to_go_on` gives, and what was told."""
    told: list[Event] = []
    pending = run_to_go_on(runs, request, "zzhua", lambda _: Read(fingerprint), told.append)  # type: ignore[arg-type]
    return pending, told


def test_a_run_goes_on_with_the_dialogues_that_it_began_with(runs):
    begin(runs, ASKED, data={"fingerprint": "dialogues"})
    pending, told = going_on(runs, ASKED)
    assert (pending.run.number, pending.data, told) == (1, Read("dialogues"), [])
    assert going_on(runs, ASKED, "others") == (None, [Note("note.data_changed")])
    with pytest.raises(UsageError) as refused:
        going_on(runs, Request(ollama_name="zzhua", resume=True), "others")
    assert refused.value.key == "error.data_changed"


def test_a_ladder_needs_its_dialogues_for_the_rungs_to_come(runs):
    asked = Request(ollama_name="zzhua", ladder="1,2")
    train(begin(runs, asked, data={"fingerprint": "dialogues"}))
    pending, _ = going_on(runs, asked)
    assert (pending.run.number, pending.data) == (1, Read("dialogues"))


def test_a_preview_goes_on_with_nothing_and_resume_needs_something(runs):
    with pytest.raises(UsageError) as refused:
        going_on(runs, Request(ollama_name="zzhua", resume=True))
    assert refused.value.key == "error.nothing_to_resume"
    assert going_on(runs, ASKED) == (None, [])
    begin(runs, ASKED, data={"fingerprint": "dialogues"})
    assert going_on(runs, Request(ollama_name="zzhua", epochs=3.0, dry_run=True)) == (None, [])


def test_the_rungs_of_a_ladder_are_those_begun_since_the_last_run_that_is_done(runs):
    asked = Request(ollama_name="zzhua", ladder="1,2")
    for request, status in ((asked, "done"), (asked, "trained"), (ASKED, "interrupted"), (asked, "interrupted")):
        begin(runs, request).update(status=status)
    assert [run.number for run in rungs_of_climb(runs, asked, "zzhua")] == [2, 4]
