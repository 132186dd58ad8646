"""Which run of a name is meant: the one that stands, the one that goes on, the one to register again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from lora_trainer.errors import UsageError
from lora_trainer.events import Event, Note
from lora_trainer.plan import TrainPlan
from pipeline.job import identity
from pipeline.request import Request
from pipeline.run.history import History
from pipeline.run.standing import run_to_go_on, run_to_register, rungs_of_climb, standing_run, unfinished

ASKED = Request(ollama_name="zzhua", epochs=3.0)


@dataclass
class Read:
    """The dialogues that a request names, as far as they are looked at here."""

    fingerprint: str


@pytest.fixture
def runs(tmp_path):
    return History(tmp_path / "家 home")


def begin(runs, request: Request | None = None, **values: Any):
    return runs.begin("zzhua", plan=TrainPlan().to_json(), request=identity(request) if request else {}, **values)


def test_a_continuation_starts_from_what_is_published_and_not_rolled_back(runs):
    for stages in (["train", "publish"], ["train", "publish"], ["train"]):
        run = begin(runs)
        for stage in stages:
            run.mark_done(stage, 1)
        run.update(status="done")
    begin(runs)  # goes on, or was killed
    assert standing_run(runs, "zzhua").number == 2
    runs.runs("zzhua")[1].update(rolled_back="2026-01-01")
    assert standing_run(runs, "zzhua").number == 1
    runs.runs("zzhua")[0].update(rolled_back="2026-01-01")
    assert standing_run(runs, "zzhua").number == 3


def test_a_run_that_is_registered_again_is_the_one_to_continue_from(runs):
    for day in ("2026-01-02", "2026-01-03"):
        run = begin(runs)
        run.mark_done("publish", 1)
        run.update(status="done", stages={"publish": {"finished": day}}, rolled_back="2026-01-04")
    first = runs.runs("zzhua")[0]
    first.forget("publish")
    first.mark_done("publish", 1)
    second = runs.runs("zzhua")[1]
    second.record.pop("rolled_back")
    second.update()
    assert standing_run(runs, "zzhua").number == 1
    runs.runs("zzhua")[0].update(rolled_back="2026-01-05")
    assert standing_run(runs, "zzhua").number == 2


def test_the_same_request_is_known_again_and_another_is_not(runs):
    run = begin(runs, ASKED)
    assert unfinished(runs, Request(ollama_name="zzhua", epochs=3.0, yes=True, json=True), "zzhua").number == 1
    assert unfinished(runs, Request(ollama_name="zzhua", epochs=4.0), "zzhua") is None
    assert unfinished(runs, Request(ollama_name="zzhua", epochs=4.0, resume=True), "zzhua").number == 1
    assert unfinished(runs, Request(ollama_name="zzhua", epochs=3.0, restart=True), "zzhua") is None
    run.update(status="done")
    assert unfinished(runs, ASKED, "zzhua") is None


@pytest.mark.parametrize(("before", "now"), [({"no_register": True}, {}), ({}, {"no_register": True})])
def test_a_run_goes_on_whether_or_not_it_is_registered_in_the_end(runs, before, now):
    begin(runs, Request(ollama_name="zzhua", **before))
    assert unfinished(runs, Request(ollama_name="zzhua", **now), "zzhua").number == 1


def test_only_the_newest_run_goes_on(runs):
    begin(runs, ASKED).update(status="interrupted")
    begin(runs, Request(ollama_name="zzhua", epochs=9.0)).update(status="done")
    assert unfinished(runs, ASKED, "zzhua") is None
    assert unfinished(runs, Request(resume=True), "zzhua") is None


@pytest.mark.parametrize(("flags", "number"), [({}, 3), ({"run": 1}, 1), ({"run": 3}, 3)])
def test_the_newest_trained_run_is_registered_unless_another_is_named(runs, flags, number):
    for trained in (True, False, True, False):
        run = begin(runs)
        if trained:
            run.mark_done("train", 1)
    assert run_to_register(runs, Request(register_only=True, **flags), "zzhua").number == number


@pytest.mark.parametrize("flags", [{}, {"run": 1}, {"run": 7}])
def test_what_is_not_trained_can_not_be_registered(runs, flags):
    begin(runs)
    with pytest.raises(UsageError) as refused:
        run_to_register(runs, Request(register_only=True, **flags), "zzhua")
    assert refused.value.key == "error.nothing_to_register"


def going_on(runs, request: Request, fingerprint: str = "dialogues"):
    """What `run_to_go_on` gives, and what was told."""
    told: list[Event] = []
    pending = run_to_go_on(runs, request, "zzhua", lambda: Read(fingerprint), told.append)  # type: ignore[arg-type]
    return pending, told


def test_a_run_goes_on_with_the_dialogues_that_it_began_with(runs):
    begin(runs, ASKED, data={"fingerprint": "dialogues"})
    pending, told = going_on(runs, ASKED)
    assert (pending.run.number, pending.data, told) == (1, Read("dialogues"), [])
    assert going_on(runs, ASKED, "others") == (None, [Note("note.data_changed")])
    with pytest.raises(UsageError) as refused:
        going_on(runs, Request(ollama_name="zzhua", resume=True), "others")
    assert refused.value.key == "error.data_changed"


def test_what_is_trained_goes_on_whatever_has_become_of_the_dialogues(runs):
    begin(runs, ASKED, data={"fingerprint": "dialogues"}).mark_done("train", 1)
    pending, told = going_on(runs, ASKED, "others")
    assert (pending.run.number, pending.data, told) == (1, None, [])


def test_a_ladder_needs_its_dialogues_for_the_rungs_to_come(runs):
    asked = Request(ollama_name="zzhua", ladder="1,2")
    begin(runs, asked, data={"fingerprint": "dialogues"}).mark_done("train", 1)
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
